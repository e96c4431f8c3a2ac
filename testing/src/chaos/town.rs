//! The processes of a run: PostgreSQL, servers, the proxy, and for each device a writer and a sync. Whatever is dropped ends.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::{Connection, PgConnection};
use sync_server::private_postgres::SERVER;
use tempfile::TempDir;

use super::schedule::{Fault, Part};
use super::{ACCOUNTS, Figures, SERVERS};
use crate::fault_proxy::{FaultProxy, Line};
use crate::postgres::block_on;
use crate::{Database, Device, Postgres, ServerProcess};

/// All devices share one address, and none of them is to be sent away for that.
const ADDRESS_PACE: (&str, &str) = ("FITME_ADDRESS_PACE", "1000000");
/// Every so manyth device syncs by one exchange after the other, as a background task does, instead of a socket.
const ONE_SHOT: usize = 4;

/// All of it.
pub struct Town {
    // In the order in which they end: what uses the other comes first.
    pub residents: Vec<Resident>,
    pub proxy: FaultProxy,
    servers: Vec<Server>,
    pub database: Database,
    postgres: Postgres,
    folder: TempDir,
    pub figures: Figures,
}

struct Server {
    process: ServerProcess,
    runs: bool,
}

/// A device, and what runs on it.
pub struct Resident {
    pub device: Device,
    pub email: String,
    pub name: String,
    /// What it told. It lies outside the home, like a notebook beside a phone.
    pub journal: PathBuf,
    /// What its processes said on standard error.
    said: PathBuf,
    seed: u64,
    starts: u64,
    by_exchange: bool,
    writer: Option<Process>,
    sync: Option<Process>,
    /// Processes that ended though nobody killed them.
    pub ended_by_themselves: Vec<String>,
}

/// A process that is killed when nobody wants it any more.
struct Process(Child);

impl Process {
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("it is a child of ours")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

impl Town {
    /// Starts everything, all accounts signed up and all devices logged in.
    ///
    /// # Panics
    /// When something does not start.
    pub fn build(seed: u64) -> Self {
        let postgres = Postgres::start();
        let database = postgres.database();
        let start = |_| ServerProcess::start_with(Some(&database.url), &[ADDRESS_PACE]);
        let servers: Vec<_> = (0..SERVERS).map(start).map(|process| Server { process, runs: true }).collect();
        let proxy = FaultProxy::before(servers.iter().map(|server| address(&server.process)).collect(), seed);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut residents = Vec::new();
        for (account, devices) in ACCOUNTS.into_iter().enumerate() {
            for device in 0..devices {
                let mut resident = Resident::new(folder.path(), (account, device), seed, residents.len());
                resident.join(&proxy.url(), device == 0);
                resident.start();
                residents.push(resident);
            }
        }
        Self { residents, proxy, servers, database, postgres, folder, figures: Figures::default() }
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.residents.len()
    }

    /// Lets one thing go wrong, or end.
    pub fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::KillServer(server) => {
                self.servers[server].process.kill9();
                self.servers[server].runs = false;
                self.figures.servers += 1;
            }
            Fault::StartServer(server) => self.servers[server].start(),
            Fault::KillDevice(device, part) => self.figures.clients += self.residents[device].kill(part),
            Fault::StartDevice(device) => self.residents[device].start(),
            Fault::KillPostgres => {
                self.postgres.kill9();
                self.postgres.bring_back();
                self.figures.postgres += 1;
            }
            Fault::TerminateBackends(connections) => {
                self.figures.backends += terminate_backends(&self.database, connections);
            }
            Fault::Cut(connections) => self.figures.cut += self.proxy.treat(connections, Line::Cut),
            Fault::Slow(connections, bytes) => {
                self.figures.slowed += self.proxy.treat(connections, Line::Slow(bytes));
            }
            Fault::EndSlow => self.proxy.treat_all(is_slow, Line::Clear),
            Fault::Silence(connections, silence) => {
                self.figures.half_open += self.proxy.treat(connections, Line::Silent(silence));
            }
            Fault::EndSilence => self.proxy.treat_all(is_silent, Line::Cut),
        }
    }

    /// Sees to it that what nobody killed goes on.
    pub fn tend(&mut self) {
        self.residents.iter_mut().for_each(Resident::tend);
    }

    /// Ends all that goes wrong. Nobody writes any more.
    pub fn heal(&mut self) {
        self.servers.iter_mut().for_each(Server::start);
        self.proxy.treat_all(is_slow, Line::Clear);
        self.proxy.treat_all(is_silent, Line::Cut);
        for resident in &mut self.residents {
            resident.start();
            resident.write_no_more();
        }
    }

    /// Lets the devices end, so that nobody but the checker uses their homes. The servers run on.
    pub fn fall_silent(&mut self) {
        for resident in &mut self.residents {
            if let Some(mut writer) = resident.writer.take() {
                drop(writer.0.stdin.take());
                let _its_last_receipts_are_told = writer.0.wait();
            }
            resident.sync = None;
        }
    }

    /// What servers logged of a panic.
    pub fn panics(&self) -> Vec<String> {
        let logs = self.servers.iter().map(|server| server.process.log());
        logs.flat_map(|log| {
            log.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
    }

    /// Copies what a person wants to look at after a failure; returns where it is.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn keep_evidence(&self, seed: u64) -> PathBuf {
        let kept = std::env::temp_dir().join(format!("fitme-chaos-{seed}-{}", std::process::id()));
        fs::create_dir_all(&kept).expect("a temporary folder can be made");
        copy(self.folder.path(), &kept);
        for (number, server) in self.servers.iter().enumerate() {
            fs::write(kept.join(format!("server-{number}.log")), server.process.log()).expect("the folder is ours");
        }
        for resident in &self.residents {
            let home = kept.join(&resident.name);
            fs::create_dir_all(&home).expect("the folder is ours");
            copy(resident.device.home(), &home);
        }
        let dump = Command::new("pg_dump").arg(&self.database.owner).output();
        let _without_it = dump.map(|dump| fs::write(kept.join("server.sql"), dump.stdout));
        kept
    }
}

impl Server {
    fn start(&mut self) {
        if !std::mem::replace(&mut self.runs, true) {
            self.process.restart();
        }
    }
}

impl Resident {
    fn new(folder: &Path, (account, device): (usize, usize), seed: u64, number: usize) -> Self {
        let name = format!("account-{account}-device-{device}");
        Self {
            device: Device::new(&name),
            email: format!("chaos-{account}@example.org"),
            journal: folder.join(format!("{name}.journal")),
            said: folder.join(format!("{name}.said")),
            name,
            seed: seed.wrapping_mul(1_000).wrapping_add(number as u64),
            starts: 0,
            by_exchange: number % ONE_SHOT == ONE_SHOT - 1,
            writer: None,
            sync: None,
            ended_by_themselves: Vec::new(),
        }
    }

    fn join(&self, url: &str, is_first: bool) {
        if is_first {
            self.device.sign_up(url, &self.email);
        } else {
            self.device.log_in(url, &self.email);
        }
    }

    /// Starts what does not run.
    fn start(&mut self) {
        self.starts += 1;
        if self.writer.is_none() {
            let seed = self.seed.wrapping_mul(1_000).wrapping_add(self.starts);
            let mut command = Command::new(std::env::current_exe().expect("a running program has a file"));
            command.arg("device").arg("--home").arg(self.device.home()).arg("--journal").arg(&self.journal);
            self.writer = Some(self.spawn(command.arg("--seed").arg(seed.to_string()).stdin(Stdio::piped())));
        }
        if self.sync.is_none() {
            let how = if self.by_exchange { "--once" } else { "--watch" };
            self.sync = Some(self.spawn(self.device.command(&["sync", how]).stdin(Stdio::null())));
        }
    }

    fn spawn(&self, command: &mut Command) -> Process {
        let said = File::options().create(true).append(true).open(&self.said).expect("the folder is ours");
        Process(command.stdout(Stdio::null()).stderr(said).spawn().expect("the program is built and can be run"))
    }

    /// Starts again what ended by itself. For an exchange that is the way of things, successful or not; anything else is noted.
    fn tend(&mut self) {
        let ended = |process: &mut Option<Process>| process.as_mut().and_then(Process::ended);
        let (writer, sync) = (ended(&mut self.writer), ended(&mut self.sync));
        if let Some(status) = writer {
            self.writer = None;
            self.note(format!("the writer of {} ended with {status}", self.name));
        }
        if let Some(status) = sync {
            self.sync = None;
            if !(self.by_exchange && matches!(status.code(), Some(0 | 1))) {
                self.note(format!("the sync of {} ended with {status}", self.name));
            }
        }
        if writer.is_some() || sync.is_some() {
            self.start();
        }
    }

    fn note(&mut self, what: String) {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let last = said.lines().last().unwrap_or("it said nothing");
        self.ended_by_themselves.push(format!("{what}: {last}"));
    }

    fn write_no_more(&mut self) {
        if let Some(stdin) = self.writer.as_mut().and_then(|writer| writer.0.stdin.as_mut()) {
            let _it_has_ended = stdin.write_all(b"quiet\n");
        }
    }

    fn kill(&mut self, part: Part) -> usize {
        let writer = (part != Part::Sync).then(|| self.writer.take()).flatten();
        let sync = (part != Part::Writer).then(|| self.sync.take()).flatten();
        usize::from(writer.is_some()) + usize::from(sync.is_some())
    }
}

fn address(server: &ServerProcess) -> SocketAddr {
    server.url().trim_start_matches("http://").parse().expect("a server announces its address")
}

fn is_slow(line: Line) -> bool {
    matches!(line, Line::Slow(_))
}

fn is_silent(line: Line) -> bool {
    matches!(line, Line::Silent(_))
}

/// Ends so many of the servers' connections; those at work first. Returns how many.
fn terminate_backends(database: &Database, connections: usize) -> usize {
    const END: &str = "SELECT count(pg_terminate_backend(pid)) FROM (
             SELECT pid FROM pg_stat_activity WHERE usename = $1 ORDER BY state = 'active' DESC, random() LIMIT $2) of_servers";
    let ended: i64 = block_on(|| async {
        let mut owner = PgConnection::connect(&database.owner).await.expect("PostgreSQL answers");
        let ended = sqlx::query_scalar(END).bind(SERVER).bind(connections as i64).fetch_one(&mut owner).await;
        ended.expect("the owner of a private cluster may do anything")
    });
    ended as usize
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).expect("the folder is ours").map(|file| file.expect("the folder is ours")) {
        fs::copy(file.path(), to.join(file.file_name())).expect("the folder is ours");
    }
}
