//! A directory of tables: a file for each event, machine and day.
//!
//! `DIR/SYSTEM/EVENT/machine=NAME/day=DAY/TRACE-ID.EXTENSION`, which Hive, Spark, DuckDB, Polars and ClickHouse read
//! as one table for each event, with the columns `machine` and `day`. The same trace gives the same names again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracedat::export::{Day, EventTable};
use tracedat::{Metadata, Record};

use super::args::ExportArgs;
use super::csv::tell_unknown;
use super::inputs::{Files, Stream, stem};
use super::output::{cannot_write, part};
use crate::error::Error;

/// What makes a file of rows.
pub(super) trait Encoder: Sized {
    /// Ending of its files.
    const EXTENSION: &'static str;

    /// Begins a file.
    fn new(table: &EventTable) -> io::Result<Self>;

    /// Adds a row; true when it is time to write.
    fn row(
        &mut self,
        table: &EventTable,
        metadata: &Metadata,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
    ) -> bool;

    /// Bytes of memory that rows take.
    fn buffered(&self) -> usize;

    /// Appends what comes next in the file.
    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()>;

    /// Appends the end of the file.
    fn finish(self, out: &mut Vec<u8>) -> io::Result<()>;
}

/// What all tables together may have in memory, in bytes; how often that is looked at, in rows.
const BUFFERED: usize = 128 << 20;
const LOOK_EVERY: u32 = 1 << 16;

/// The day where it is not known, as Hive writes it.
const UNKNOWN: &str = "__HIVE_DEFAULT_PARTITION__";

/// The tables that are being written. Files are open only while something is written to them, as there may be more
/// tables than a process may have files.
pub(super) struct Folder<'a, E> {
    dir: &'a Path,
    files: &'a Files,
    day: Option<&'a str>,
    parts: Vec<Part<E>>,
    /// Which part the rows of a file's event and day go to.
    places: HashMap<(usize, u16, Option<Day>), usize>,
    /// The same for the last day of each file's event.
    last: Vec<Vec<Option<Last>>>,
    /// What tells the files of a trace from those of others.
    names: Vec<Option<String>>,
    unknown: u64,
}

/// Where rows went to last.
#[derive(Clone, Copy)]
struct Last {
    day: Option<Day>,
    part: usize,
}

/// One file.
struct Part<E> {
    path: PathBuf,
    table: EventTable,
    /// Taken when the file is ended.
    encoder: Option<E>,
}

impl<'a, E: Encoder> Folder<'a, E> {
    pub(super) fn new(dir: &'a Path, files: &'a Files, args: &'a ExportArgs) -> Self {
        let count = files.metadata.len();
        Self {
            dir,
            files,
            day: args.day.as_deref(),
            parts: Vec::new(),
            places: HashMap::new(),
            last: (0..count).map(|_| Vec::new()).collect(),
            names: vec![None; count],
            unknown: 0,
        }
    }

    /// Writes all records that were selected, or nothing.
    pub(super) fn fill(mut self, args: &ExportArgs, stream: Stream) -> Result<(), Error> {
        fs::create_dir_all(self.dir).map_err(|cause| cannot_write(self.dir, cause))?;
        let written = self.write(args, stream);
        if written.is_err() {
            for written in &self.parts {
                // The error says more than a failure to clean up could.
                let _ = fs::remove_file(part(&written.path));
            }
        }
        written
    }

    fn write(&mut self, args: &ExportArgs, stream: Stream) -> Result<(), Error> {
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        let mut rows = 0_u32;
        let files = self.files;
        stream.visit(files, &args.selection, |file, record| {
            let Some(metadata) = files.metadata.get(file) else { return Ok(()) };
            let Some(at) = self.place(file, metadata, record)? else {
                self.unknown += 1;
                return Ok(());
            };
            let Some(part) = self.parts.get_mut(at) else { return Ok(()) };
            let Some(encoder) = &mut part.encoder else { return Ok(()) };
            if encoder.row(&part.table, metadata, record, &mut scratch) {
                part.flush(&mut out)?;
            }
            rows += 1;
            if rows == LOOK_EVERY {
                rows = 0;
                self.make_room(&mut out)?;
            }
            Ok(())
        })?;
        for part in &mut self.parts {
            part.finish(&mut out)?;
        }
        for written in &self.parts {
            fs::rename(part(&written.path), &written.path)
                .map_err(|cause| cannot_write(&written.path, cause))?;
        }
        tell_unknown(self.unknown);
        Ok(())
    }

    /// Writes what takes most, while all tables together take too much.
    fn make_room(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let buffered = |part: &Part<E>| part.encoder.as_ref().map_or(0, Encoder::buffered);
        let mut total: usize = self.parts.iter().map(buffered).sum();
        while total > BUFFERED {
            let Some(most) = self.parts.iter_mut().max_by_key(|part| buffered(part)) else { break };
            total -= buffered(most);
            most.flush(out)?;
        }
        Ok(())
    }

    /// The part that a record goes to; `None` when the file has no format for it.
    fn place(
        &mut self,
        file: usize,
        metadata: &Metadata,
        record: &Record<'_>,
    ) -> Result<Option<usize>, Error> {
        let Some(id) = record.data.first_chunk() else { return Ok(None) };
        let id = metadata.abi.byte_order.u16(*id);
        let day = metadata.date().map(|_| Day::of(record.time));
        let Some(last) = self.last.get_mut(file) else { return Ok(None) };
        let at = usize::from(id);
        if last.len() <= at {
            last.resize(at + 1, None);
        }
        if let Some(Some(last)) = last.get(at)
            && last.day == day
        {
            return Ok(Some(last.part));
        }
        let place = match self.places.get(&(file, id, day)) {
            Some(place) => *place,
            None => {
                let Ok(event) = metadata.event(record) else { return Ok(None) };
                let table = EventTable::new(event.kind());
                let name = self.name(file, metadata, record);
                let part = Part::create(self.path(file, &table, day, &name), table)?;
                self.parts.push(part);
                self.places.insert((file, id, day), self.parts.len() - 1);
                self.parts.len() - 1
            }
        };
        if let Some(last) = self.last.get_mut(file).and_then(|last| last.get_mut(at)) {
            *last = Some(Last { day, part: place });
        }
        Ok(Some(place))
    }

    /// What tells the files of a trace from those of others: its id, or when it began.
    fn name(&mut self, file: usize, metadata: &Metadata, record: &Record<'_>) -> String {
        let stem = self.files.names.get(file).map_or("", |name| stem(name));
        let made = || {
            let id = metadata.trace_id().filter(|id| *id != 0).unwrap_or(record.time);
            format!("{}-{id:016x}", escaped(stem))
        };
        match self.names.get_mut(file) {
            Some(name) => name.get_or_insert_with(made).clone(),
            None => made(),
        }
    }

    fn path(&self, file: usize, table: &EventTable, day: Option<Day>, name: &str) -> PathBuf {
        let machine = self.files.machines.get(file).map_or("", String::as_str);
        let day = match (day, self.day) {
            (Some(day), _) => day.to_string(),
            (None, Some(day)) => day.to_owned(),
            (None, None) => UNKNOWN.to_owned(),
        };
        self.dir
            .join(escaped(table.system()))
            .join(escaped(table.event()))
            .join(format!("machine={}", escaped(machine)))
            .join(format!("day={day}"))
            .join(format!("{name}.{}", E::EXTENSION))
    }
}

impl<E: Encoder> Part<E> {
    fn create(path: PathBuf, table: EventTable) -> Result<Self, Error> {
        let dir = path.parent().unwrap_or(&path);
        fs::create_dir_all(dir).map_err(|cause| cannot_write(dir, cause))?;
        let encoder = E::new(&table).map_err(|cause| cannot_write(&path, cause))?;
        File::create(part(&path)).map_err(|cause| cannot_write(&path, cause))?;
        Ok(Self { path, table, encoder: Some(encoder) })
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        out.clear();
        encoder.flush(out).map_err(|cause| cannot_write(&self.path, cause))?;
        self.append(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        out.clear();
        encoder.finish(out).map_err(|cause| cannot_write(&self.path, cause))?;
        self.append(out)
    }

    fn append(&self, bytes: &[u8]) -> Result<(), Error> {
        let file = File::options().append(true).open(part(&self.path));
        let written = file.and_then(|mut file| file.write_all(bytes));
        written.map_err(|cause| cannot_write(&self.path, cause))
    }
}

/// A name as part of a path: what is no letter, digit, `_`, `-` or inner `.` becomes `%XX`, as Hive has it. Names come
/// from the trace, which may have been made by anybody.
fn escaped(name: &str) -> String {
    let mut path = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => path.push(char::from(byte)),
            b'.' if at > 0 => path.push('.'),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
        if path.len() > LONGEST_NAME {
            break;
        }
    }
    if path.is_empty() { "_".to_owned() } else { path }
}

/// Names of files end somewhere.
const LONGEST_NAME: usize = 150;

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn names_stay_one_part_of_a_path() {
        for (name, path) in [
            ("sched_switch", "sched_switch"),
            ("db-1.example.org", "db-1.example.org"),
            ("..", "%2E."),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("a=b c", "a%3Db%20c"),
            ("", "_"),
        ] {
            assert_eq!(escaped(name), path);
        }
        assert!(escaped(&"é".repeat(1000)).len() < 200);
    }
}
