//! The one stage that sees records in order: fills batches, and does what depends on order.

use std::sync::Arc;

use super::backwards::{Backwards, TimeCheck};
use super::batch::{Batch, Header};
use super::comms::{EarlyComms, LearnedComms};
use super::file::{ReportFile, Slot};
use super::options::{Compat, ReportOptions};
use super::selection::Selection;
use super::wakeups::Wakeups;
use crate::error::ReadError;
use crate::filter::FilterContext;
use crate::plugin::{Observer, Order};
use crate::read::Merged;
use crate::ring_buffer::Record;
use crate::tasks::Tasks;

/// Records of the first batch; each one after has twice as many. The first line does not wait for
/// tables that only the next ones need, and a reader that wanted no more is noticed at once.
const FIRST_BATCH: usize = 1;
/// Records of a full batch: enough to make the lock rare, small enough for a core's cache.
const FULL_BATCH: usize = 4096;
/// Bytes at which a batch of large records is full.
const FULL_BATCH_BYTES: usize = 256 * 1024;

/// Bytes of the common fields: id, flags, preemption count, process.
const COMMON_LEN: usize = 8;

/// Pulls batches from the records and keeps what handlers know from the order of events.
pub(crate) struct Sequencer<'f, 'm, R> {
    records: R,
    files: &'f [ReportFile<'m>],
    observers: Vec<Observers>,
    comms: Vec<Arc<LearnedComms>>,
    /// Per file, what was told before the first line that needs a name.
    early: Vec<Option<EarlyComms>>,
    options: &'f ReportOptions,
    selection: Selection,
    /// Whether records of events that no filter shows are left out before they are merged.
    chooses_early: bool,
    time_check: TimeCheck,
    wakeups: Wakeups,
    sequence: u64,
    taken: u64,
    previous_time: Option<u64>,
    limit: usize,
    ended: bool,
    error: Option<ReadError>,
}

/// What is left when all records were pulled.
pub(crate) struct End {
    /// What ended the reading, if it was not the end of the records.
    pub(crate) error: Option<ReadError>,
    /// Text for the end of the report.
    pub(crate) summary: Vec<u8>,
    /// Where time went backwards, if that was asked for.
    pub(crate) backwards: Vec<Backwards>,
}

/// A file's observers by event id, made when the event first occurs.
#[derive(Default)]
struct Observers {
    by_id: Vec<Option<Option<Box<dyn Observer>>>>,
}

impl Observers {
    #[inline]
    fn get<'a>(&'a mut self, file: &ReportFile<'_>, id: u16) -> Option<&'a mut Box<dyn Observer>> {
        let id = usize::from(id);
        if self.by_id.len() <= id {
            self.by_id.resize_with(id + 1, || None);
        }
        self.by_id.get_mut(id)?.get_or_insert_with(|| file.observer(id as u16)).as_mut()
    }
}

impl<'f, 'm, R: Merged> Sequencer<'f, 'm, R> {
    /// Starts before the first record.
    pub(crate) fn new(records: R, files: &'f [ReportFile<'m>], options: &'f ReportOptions) -> Self {
        Self {
            records,
            files,
            observers: files.iter().map(|_| Observers::default()).collect(),
            comms: files.iter().map(|_| Arc::default()).collect(),
            early: files.iter().map(|_| Some(EarlyComms::default())).collect(),
            options,
            selection: Selection::new(options, files.len()),
            chooses_early: !options.filters.is_empty() && !options.check_time,
            time_check: TimeCheck::default(),
            wakeups: Wakeups::default(),
            sequence: 0,
            taken: 0,
            previous_time: None,
            limit: FIRST_BATCH,
            ended: false,
            error: None,
        }
    }

    /// Fills `batch` with the next records; false at the end.
    pub(crate) fn pull(&mut self, batch: &mut Batch) -> bool {
        batch.clear();
        if self.ended {
            return false;
        }
        batch.sequence = self.sequence;
        batch.first_record = self.taken;
        batch.previous_time = self.previous_time;
        while batch.headers.len() < self.limit && batch.bytes.len() < FULL_BATCH_BYTES {
            match self.take(batch) {
                Ok(true) => {}
                Ok(false) => {
                    self.ended = true;
                    break;
                }
                Err(error) => {
                    self.ended = true;
                    self.error = Some(error);
                    break;
                }
            }
        }
        self.limit = (self.limit * 2).min(FULL_BATCH);
        self.sequence += 1;
        self.taken += batch.headers.len() as u64;
        if let Some(last) = batch.headers.last() {
            self.previous_time = Some(last.time);
        }
        batch.comms.extend(self.comms.iter().cloned());
        true
    }

    /// Goes on behind what was the end: the records, to have more of them.
    pub(crate) fn resume(&mut self) -> Result<&mut R, ReadError> {
        self.ended = false;
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(&mut self.records),
        }
    }

    /// Takes the names that tasks of a file have now.
    pub(crate) fn name_tasks(&mut self, file: usize, tasks: &Tasks) {
        let (Some(context), Some(comms)) = (self.files.get(file), self.comms.get_mut(file)) else {
            return;
        };
        for (pid, comm) in tasks.iter() {
            if comms.comm(pid, self.taken, || context.saved_comm(pid)) != Some(comm) {
                Arc::make_mut(comms).rename(pid, comm, self.taken);
            }
        }
    }

    /// What is left when all is pulled.
    pub(crate) fn finish(self) -> End {
        let mut summary = Vec::new();
        self.wakeups.print_summary(&mut summary);
        End { error: self.error, summary, backwards: self.time_check.found }
    }

    /// Puts one record into the batch; false at the end.
    #[inline]
    fn take(&mut self, batch: &mut Batch) -> Result<bool, ReadError> {
        let next = if self.chooses_early {
            let (selection, files) = (&mut self.selection, self.files);
            self.records.next_wanted(&mut |candidate| selection.may_show(candidate, files))?
        } else {
            self.records.next()?
        };
        let Some((file, record)) = next else { return Ok(false) };
        let files = self.files;
        let context = files.get(file);
        let mut common = [0; COMMON_LEN];
        let record = match self.options.compat {
            Compat::V3_1_6 if record.data.len() < COMMON_LEN => with_common(&record, &mut common),
            _ => record,
        };
        if self.options.check_time {
            self.time_check.see(file, &record);
        }
        if !wants(self.options, context, &record) {
            return Ok(true);
        }
        if self.selection.is_filtered(file)
            && let (Some(context), Some(comms)) = (context, self.comms.get(file))
        {
            let number = self.taken + batch.headers.len() as u64;
            let filter_context = FilterContext {
                cpu: record.cpu,
                comm: &|pid| comms.comm(pid, number, || context.saved_comm(pid)),
                names: context.names(),
            };
            let slot = context.event_id(record.data).and_then(|id| context.slot(id));
            let slot = slot.map(|slot| &slot.filters);
            let place = (file, record.buffer);
            if !self.selection.shows(place, slot, record.data, &filter_context) {
                return Ok(true);
            }
        }
        let start = batch.bytes.len();
        let mut header = Header {
            time: record.time,
            start: start as u32,
            len: record.data.len() as u32,
            attached: 0,
            note: 0,
            cpu: record.cpu,
            buffer: record.buffer,
            file: file as u32,
            starts_sub_buffer: record.starts_sub_buffer,
            missed: record.missed,
        };
        batch.bytes.extend_from_slice(record.data);
        let id = context.and_then(|context| context.event_id(record.data));
        if self.options.raw || self.options.raw_events.is_some() {
            let slot = context.and_then(|context| context.slot(id?));
            let behind = slot.map_or(&[][..], |slot| claimed(slot, &record));
            batch.bytes.extend_from_slice(behind);
            header.attached = behind.len() as u32;
        }
        self.settle_comms(file, id, batch.data(&header));
        let mut observed = Ok(true);
        if let (Some(context), Some(id), Some(observers)) =
            (context, id, self.observers.get_mut(file))
            && observers.get(context, id).is_some()
        {
            observed = self.observe(context, (file, id), &mut header, batch);
        }
        if self.options.wakeups && file == 0 {
            self.observe_wakeup(&header, batch);
        }
        batch.headers.push(header);
        observed
    }

    /// Shows a record, the last of the batch, to the observer of its event.
    #[inline(never)]
    fn observe(
        &mut self,
        context: &ReportFile<'_>,
        (file, id): (usize, u16),
        header: &mut Header,
        batch: &mut Batch,
    ) -> Result<bool, ReadError> {
        let (Some(observers), Some(comms), Some(early)) =
            (self.observers.get_mut(file), self.comms.get_mut(file), self.early.get_mut(file))
        else {
            return Ok(true);
        };
        let Some(observer) = observers.get(context, id) else { return Ok(true) };
        let start = header.start as usize;
        let mut order = OrderedRecord {
            records: &mut self.records,
            file,
            buffer: header.buffer,
            cpu: header.cpu,
            number: self.taken + batch.headers.len() as u64,
            context,
            comms,
            early,
            bytes: &mut batch.bytes,
            start,
            len: header.len as usize,
            attaches: self.options.json.is_none(),
            error: None,
        };
        header.note = observer.observe(&mut order);
        let error = order.error;
        header.attached = (batch.bytes.len() - start) as u32 - header.len;
        error.map_or(Ok(true), Err)
    }
}

impl<R> Sequencer<'_, '_, R> {
    /// Ends the time in which names go into the list as they come: with the first line of a task.
    #[inline]
    fn settle_comms(&mut self, file: usize, id: Option<u16>, data: &[u8]) {
        let Some(early) = self.early.get_mut(file) else { return };
        if early.is_none() {
            return;
        }
        let (Some(context), Some(comms)) = (self.files.get(file), self.comms.get_mut(file)) else {
            return;
        };
        let pid = id.and_then(|id| Some(context.slot(id)?.common.pid.get(data)));
        if pid.is_some_and(|pid| pid != 0)
            && let Some(early) = early.take()
        {
            Arc::make_mut(comms).settle(early, context.saved_pids());
        }
    }

    fn observe_wakeup(&mut self, header: &Header, batch: &mut Batch) {
        let data = batch.data(header);
        let slot = self.files.first().and_then(|file| file.slot(file.event_id(data)?));
        let Some(role) = slot.and_then(|slot| slot.wakeup) else { return };
        if let Some(latency) = self.wakeups.observe(role, data, header.time) {
            batch.latencies.push((batch.headers.len() as u32, latency));
        }
    }
}

/// A record that is too short for its common fields, which are read from what is behind it.
#[cold]
fn with_common<'a>(record: &Record<'a>, common: &'a mut [u8; COMMON_LEN]) -> Record<'a> {
    let mut len = 0;
    for (place, &byte) in common.iter_mut().zip(record.data.iter().chain(record.behind)) {
        *place = byte;
        len += 1;
    }
    Record { data: &common[..len], ..*record }
}

/// What fields that are printed one by one have of the bytes behind a record: up to where the last
/// field ends, and up to the NUL that ends a text.
fn claimed<'a>(slot: &Slot<'_>, record: &Record<'a>) -> &'a [u8] {
    if !slot.raw {
        return &[];
    }
    let ends = slot.event.format.fields.iter().map(|field| field.offset.saturating_add(field.size));
    let missing = (ends.max().unwrap_or(0) as usize).saturating_sub(record.data.len());
    let nul = record.behind.iter().position(|&byte| byte == 0);
    let len = nul.map_or(record.behind.len(), |nul| nul + 1).max(missing);
    record.behind.get(..len).unwrap_or(record.behind)
}

/// Whether a record is printed.
#[inline]
pub(super) fn wants(
    options: &ReportOptions,
    file: Option<&ReportFile<'_>>,
    record: &Record<'_>,
) -> bool {
    const HARD_IRQ: i64 = 0x08;
    const SOFT_IRQ: i64 = 0x10;
    if let Some(cpus) = &options.cpus
        && !selects_cpu(cpus, options.compat, record.buffer, record.cpu)
    {
        return false;
    }
    let unwanted = if options.no_hard_irq { HARD_IRQ } else { 0 }
        | if options.no_soft_irq { SOFT_IRQ } else { 0 };
    if unwanted == 0 {
        return true;
    }
    let slot = file.and_then(|file| file.slot(file.event_id(record.data)?));
    slot.is_none_or(|slot| slot.common.flags.get(record.data) & unwanted == 0)
}

/// Whether a CPU of a buffer is one of those that are printed.
#[inline]
pub(super) fn selects_cpu(cpus: &[u32], compat: Compat, buffer: u32, cpu: u32) -> bool {
    // The older release looks at the top-level buffer only when CPUs are chosen.
    cpus.contains(&cpu) && (buffer == 0 || compat != Compat::V3_1_6)
}

/// A record among its neighbours, as an observer sees it.
struct OrderedRecord<'a, 'm, R> {
    records: &'a mut R,
    file: usize,
    buffer: u32,
    cpu: u32,
    number: u64,
    context: &'a ReportFile<'m>,
    comms: &'a mut Arc<LearnedComms>,
    early: &'a mut Option<EarlyComms>,
    bytes: &'a mut Vec<u8>,
    start: usize,
    len: usize,
    /// Whether a record may become part of another's line.
    attaches: bool,
    error: Option<ReadError>,
}

impl<R: Merged> Order for OrderedRecord<'_, '_, R> {
    fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }

    fn cpu(&self) -> u32 {
        self.cpu
    }

    fn function_name(&self, address: u64) -> Option<&str> {
        self.context.function_name(address)
    }

    fn learn_comm(&mut self, pid: i32, comm: &[u8]) {
        if let Some(early) = self.early {
            early.learn(pid, comm, self.number);
        } else if self.context.saved_comm(pid).is_none() && !self.comms.knows(pid) {
            Arc::make_mut(self.comms).learn(pid, comm, self.number);
        }
    }

    fn attach_next_if(&mut self, wanted: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> bool {
        if !self.attaches {
            return false;
        }
        match self.try_attach(wanted) {
            Ok(attached) => attached,
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }
}

impl<R: Merged> OrderedRecord<'_, '_, R> {
    fn try_attach(
        &mut self,
        wanted: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<bool, ReadError> {
        let Some(next) = self.records.peek_cpu(self.file, self.buffer, self.cpu)? else {
            return Ok(false);
        };
        let own = self.bytes.get(self.start..self.start + self.len).unwrap_or_default();
        if !wanted(own, next.data) {
            return Ok(false);
        }
        // What another CPU did in between keeps the two apart.
        let time = next.time;
        for &other in self.context.cpus(self.buffer) {
            if other == self.cpu {
                continue;
            }
            if let Some(record) = self.records.peek_cpu(self.file, self.buffer, other)?
                && (record.time, other) < (time, self.cpu)
            {
                return Ok(false);
            }
        }
        if let Some(next) = self.records.peek_cpu(self.file, self.buffer, self.cpu)? {
            self.bytes.extend_from_slice(next.data);
        }
        self.records.skip_cpu(self.file, self.buffer, self.cpu)?;
        Ok(true)
    }
}
