//! A home on a disk that fills up: the write is refused with what it needs, and nothing else changes.

mod needs_root {
    use std::path::Path;
    use std::process::Command;

    use fitme_testing::Device;

    /// A small disk mounted over a folder, until it is dropped.
    struct SmallDisk<'a>(&'a Path);

    impl<'a> SmallDisk<'a> {
        fn over(folder: &'a Path) -> Self {
            run("mount", &["-t", "tmpfs", "-o", "size=1200k,mode=700", "tmpfs", folder.to_str().unwrap()]);
            Self(folder)
        }

        fn grow(&self) {
            run("mount", &["-o", "remount,size=64m", self.0.to_str().unwrap()]);
        }
    }

    impl Drop for SmallDisk<'_> {
        fn drop(&mut self) {
            run("umount", &[self.0.to_str().unwrap()]);
        }
    }

    fn run(program: &str, args: &[&str]) {
        assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
    }

    fn moods(phone: &Device) -> usize {
        phone.json(&["list", "moods", "--json"])["records"].as_array().unwrap().len()
    }

    #[test]
    #[ignore = "needs root"]
    fn a_full_disk_refuses_the_write_and_keeps_everything_else() {
        let phone = Device::new("phone");
        let disk = SmallDisk::over(phone.home());
        let note = "x".repeat(30_000);
        let log = ["log", "mood", "--valence", "0", "--note", &note];
        let mut logged = 0;
        let refused = loop {
            let outcome = phone.run(&log);
            if outcome.code != 0 {
                break outcome;
            }
            logged += 1;
            assert!(logged < 1_000, "a disk of 1.2 MB took a thousand notes of 30 kB");
        };
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("disk is full"), "{}", refused.stderr);
        assert!(logged > 0);
        assert_eq!(moods(&phone), logged, "what was logged is there, and nothing of what was refused");

        disk.grow();
        phone.done(&log);
        assert_eq!(moods(&phone), logged + 1);
    }
}
