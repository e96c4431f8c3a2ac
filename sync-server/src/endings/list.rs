//! The list of endings: a file beside the backups, to which every server adds what ended, and which is read after a restore.
//! Its lines may stand in any order and more than once, so that several lists are one when they are put together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::PgPool;

use super::line::{self, LINE_BYTES, Line};
use super::tables::{has_listed, mark_all_unlisted, unlisted};
use crate::db::wall::{self, Role};

/// How often a node copies what is new: so much of what ended a database that is lost may take along.
const EVERY: Duration = Duration::from_secs(1);
/// Lines that are read or written at a time.
pub const AT_ONCE: usize = 1_000;

/// Why a list is of no use; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read or written.
    #[error(
        "the list of what ended, {}, cannot be used ({reason}); name a file by FITME_ERASURES that this user may read and \
         write", file.display()
    )]
    File {
        /// Which.
        file: PathBuf,
        /// What the operating system said.
        reason: io::Error,
    },
    /// It is damaged, or another file.
    #[error(
        "line {line} of {} is none of a list of what ended; nothing of it was applied. Is it the file that FITME_ERASURES \
         named before? If it is and was damaged, bring that line back from a copy or remove it", file.display()
    )]
    Line {
        /// Which file.
        file: PathBuf,
        /// The line's number.
        line: u64,
    },
    /// It was there once.
    #[error(
        "the list of what ended, {}, is not there, though the database has noted things in it: bring it back, or name it by \
         FITME_ERASURES; where it is lost, make an empty file in its place, and what the database knows is written into it",
        .0.display()
    )]
    Missing(PathBuf),
    /// The database.
    #[error("the database failed ({0}); nothing is lost, try again")]
    Database(#[from] sqlx::Error),
}

impl ListError {
    fn of(file: &Path) -> impl Fn(io::Error) -> Self {
        move |reason| Self::File { file: file.to_owned(), reason }
    }
}

/// A list that is read from its beginning, some lines at a time.
pub struct Reader {
    file: PathBuf,
    from: BufReader<File>,
    line: u64,
}

impl Reader {
    /// Opens a list.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(file: &Path) -> Result<Self, ListError> {
        let from = File::open(file).map_err(ListError::of(file))?;
        Ok(Self { file: file.to_owned(), from: BufReader::new(from), line: 0 })
    }

    /// The next lines, at most [`AT_ONCE`]; none at the end. What a crash cut off is passed over.
    ///
    /// # Errors
    /// [`ListError::Line`] where something else stands.
    pub fn read(&mut self) -> Result<Vec<Line>, ListError> {
        let mut lines = Vec::new();
        while lines.len() < AT_ONCE {
            let mut bytes = Vec::new();
            let most = LINE_BYTES as u64 + 1;
            let read = Read::by_ref(&mut self.from).take(most).read_until(b'\n', &mut bytes);
            if read.map_err(ListError::of(&self.file))? == 0 {
                break;
            }
            self.line += 1;
            lines.extend(self.parse(&bytes)?);
        }
        Ok(lines)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Option<Line>, ListError> {
        let text = std::str::from_utf8(bytes).map(|text| text.trim_end_matches('\n')).ok();
        match text.map(|text| (text, text.parse())) {
            Some((_, Ok(line))) => Ok(Some(line)),
            Some((text, Err(_))) if line::was_cut_off(text) => {
                if !text.is_empty() {
                    tracing::warn!(file = %self.file.display(), line = self.line, "passed over a line that a crash cut off");
                }
                Ok(None)
            }
            _ => Err(ListError::Line { file: self.file.clone(), line: self.line }),
        }
    }
}

/// How many lines a list has, once each was read.
///
/// # Errors
/// When it cannot be read, or a line is none.
pub fn check(file: &Path) -> Result<usize, ListError> {
    let mut reader = Reader::open(file)?;
    let mut lines = 0;
    loop {
        match reader.read()?.len() {
            0 => return Ok(lines),
            more => lines += more,
        }
    }
}

/// Makes sure that there is a list to add to; one that is empty gets what the database knows.
///
/// # Errors
/// When it cannot be written, or is missing although the database has noted things in it.
pub async fn prepare(pool: &PgPool, file: &Path) -> Result<(), ListError> {
    if !file.exists() && has_listed(pool).await? {
        return Err(ListError::Missing(file.to_owned()));
    }
    OpenOptions::new().create(true).append(true).open(file).map_err(ListError::of(file))?;
    if fs::metadata(file).map_err(ListError::of(file))?.len() == 0 {
        mark_all_unlisted(pool).await?;
    }
    Ok(())
}

/// How many lines a list has that can be read and added to; `None` where it can be made at the first start. Changes nothing.
///
/// # Errors
/// As [`prepare`] and [`check`].
pub async fn look(pool: Option<&PgPool>, file: &Path) -> Result<Option<usize>, ListError> {
    if file.exists() {
        OpenOptions::new().append(true).open(file).map_err(ListError::of(file))?;
        return check(file).map(Some);
    }
    if let Some(pool) = pool
        && has_listed(pool).await?
    {
        return Err(ListError::Missing(file.to_owned()));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map(|_| None).map_err(ListError::of(file))
}

/// Copies what is new into the file, for as long as it is polled.
pub async fn keep(pool: PgPool, file: PathBuf) {
    loop {
        if let Err(error) = copy(&pool, &file).await {
            tracing::warn!(%error, file = %file.display(), "could not note what ended beside the backups; trying again");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Copies what is not in the file yet, and says how much it was. A crash between file and database copies it twice, which
/// is no harm.
///
/// # Errors
/// When the database does not answer, or the file cannot be written.
pub async fn copy(pool: &PgPool, file: &Path) -> Result<usize, ListError> {
    let mut copied = 0;
    loop {
        let mut tx = wall::begin_as(pool, wall::BEGIN, Role::Tidy).await?;
        let fresh = unlisted(&mut tx, AT_ONCE).await?;
        if fresh.lines.is_empty() {
            return Ok(copied);
        }
        append(file, &fresh.lines).map_err(ListError::of(file))?;
        copied += fresh.lines.len();
        fresh.mark_listed(&mut tx).await?;
        tx.commit().await?;
    }
}

/// On the disk when it returns. It begins with a line feed, which ends what a crash may have cut off.
fn append(file: &Path, lines: &[Line]) -> io::Result<()> {
    let mut text = "\n".to_owned();
    for line in lines {
        text.push_str(&format!("{line}\n"));
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may")]

    use fitme_core::id::DocId;
    use tempfile::NamedTempFile;
    use uuid::Uuid;

    use super::*;

    fn lines(count: u128) -> Vec<Line> {
        (0..count).map(|n| Line::Record(Uuid::from_u128(n), DocId([7; 16]))).collect()
    }

    fn all(file: &Path) -> Result<Vec<Line>, ListError> {
        let (mut reader, mut all) = (Reader::open(file)?, Vec::new());
        loop {
            match reader.read()? {
                none if none.is_empty() => return Ok(all),
                some => all.extend(some),
            }
        }
    }

    #[test]
    fn a_list_reads_as_it_was_written_some_lines_at_a_time() {
        let file = NamedTempFile::new().unwrap();
        let lines = lines(2 * AT_ONCE as u128 + 1);
        append(file.path(), &lines[..1]).unwrap();
        append(file.path(), &lines[1..]).unwrap();
        assert_eq!(all(file.path()).unwrap(), lines);
        assert_eq!(check(file.path()).unwrap(), lines.len());
        assert_eq!(Reader::open(file.path()).unwrap().read().unwrap().len(), AT_ONCE);
    }

    /// As they were written when erasures were all that was listed.
    #[test]
    fn a_list_of_an_earlier_version_is_read() {
        let file = NamedTempFile::new().unwrap();
        let (account, record) = ("01936d3e-9a51-7c3f-8a4e-0d6c1f2b3a49", "01936d3f-0b1c-7d2e-9f00-112233445566");
        fs::write(
            file.path(),
            format!("\naccount {account}\nrecord {account} {record}\n\nrecord {account} {record}\n"),
        )
        .unwrap();
        let (account, record) =
            (account.parse().unwrap(), Line::Record(account.parse().unwrap(), record.parse().unwrap()));
        assert_eq!(all(file.path()).unwrap(), [Line::Account(account), record, record]);
    }

    /// A server that was cut off by a full disk did not start again.
    #[test]
    fn a_line_that_a_crash_cut_off_is_passed_over_wherever_it_stands() {
        let file = NamedTempFile::new().unwrap();
        let lines = lines(3);
        append(file.path(), &lines[..2]).unwrap();
        let whole = fs::read_to_string(file.path()).unwrap();
        fs::write(file.path(), &whole[..whole.len() - 9]).unwrap();
        assert_eq!(all(file.path()).unwrap(), lines[..1], "as the last one");
        append(file.path(), &lines[1..]).unwrap();
        assert_eq!(all(file.path()).unwrap(), lines, "and before others");
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number_and_never_shown() {
        let file = NamedTempFile::new().unwrap();
        for strange in ["erase everything".to_owned(), "account ".repeat(100), "\u{1f600}".to_owned()] {
            fs::write(file.path(), format!("{}\n{strange}\n", lines(1)[0])).unwrap();
            let error = check(file.path()).unwrap_err();
            assert!(matches!(error, ListError::Line { line: 2, .. }), "{error}");
            assert!(!error.to_string().contains(&strange));
        }
        fs::write(file.path(), b"\xff\n").unwrap();
        assert!(matches!(check(file.path()), Err(ListError::Line { line: 1, .. })));
    }
}
