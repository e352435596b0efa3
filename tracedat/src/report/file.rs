//! One input file as the report sees it: how its lines begin, and how each of its events is printed.

use super::binary_texts::BinaryTexts;
use super::by_id::ById;
use super::errors::TimeErrors;
use super::json::EventFields;
use super::number;
use super::options::{Compat, ReportOptions};
use super::selection::EventFilters;
use super::wakeups::Role;
use crate::abi::{Abi, ByteOrder};
use crate::event::Event;
use crate::event_format::EventFormat;
use crate::metadata::Metadata;
use crate::plugin::{Binding, Handler, IntField, Observer, Registry};
use crate::print_fmt::Names;
use crate::text::Text;

/// Columns that the event's name fills, its colon and one blank apart.
const NAME_WIDTH: usize = 20;

/// What all threads share about a file.
pub(crate) struct ReportFile<'m> {
    /// Its place among the inputs.
    index: usize,
    metadata: &'m Metadata,
    options: &'m ReportOptions,
    registry: &'m Registry,
    /// How lines of each buffer begin and what its time stamps are.
    pub(crate) buffers: Vec<BufferStyle>,
    cpus: Vec<Vec<u32>>,
    byte_order: ByteOrder,
    /// The format whose common fields count for all events, where not each event's own do.
    common: Option<&'m Event>,
    /// Where the event id is.
    id_at: Option<usize>,
    slots: ById<Option<Slot<'m>>>,
    /// How wrong its time stamps may be, where that is printed.
    pub(crate) errors: Option<TimeErrors>,
}

/// What lines of one buffer have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct BufferStyle {
    /// File or instance name, aligned, with its colon; empty when there is only one buffer.
    pub(crate) prefix: Vec<u8>,
    /// Whether its time stamps are printed as seconds.
    pub(crate) seconds: bool,
    /// Whether the file says which clock it is.
    pub(crate) has_clock: bool,
    /// Whether its time stamps are nanoseconds.
    pub(crate) nanoseconds: bool,
    /// Members of a JSON line that tell file and instance, with their commas.
    pub(crate) json_source: Vec<u8>,
}

/// How one event is printed.
pub(crate) struct Slot<'m> {
    /// The event.
    pub(crate) event: &'m Event,
    /// What prints it instead of its print fmt.
    pub(crate) handler: Option<Box<dyn Handler>>,
    /// Whether its fields are printed one by one.
    pub(crate) raw: bool,
    /// Its name with colon and blanks.
    pub(crate) name: Text,
    /// What it means for waiting tasks, where that is asked for.
    pub(crate) wakeup: Option<Role>,
    /// The fields that all events have.
    pub(crate) common: CommonFields,
    /// When it is shown.
    pub(crate) filters: EventFilters,
    /// How its fields are printed as JSON, where that is asked for.
    pub(crate) json: Option<EventFields>,
}

/// A common field, or what counts where the format has none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommonField {
    field: Option<IntField>,
    without: i64,
}

/// Common fields that tell which task it was and what its CPU was doing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommonFields {
    /// `common_pid`.
    pub(crate) pid: CommonField,
    /// `common_flags`.
    pub(crate) flags: CommonField,
    /// `common_preempt_count`: preemption depth, migrate-disable depth in the upper half.
    pub(crate) preempt_count: CommonField,
    /// `common_migrate_disable` of real-time kernels.
    pub(crate) migrate_disable: Option<IntField>,
    /// `common_lock_depth` of old kernels.
    pub(crate) lock_depth: Option<IntField>,
    /// Whether these are all where they usually are, in the first word.
    usual: bool,
}

/// Whether 3.1.6 takes it for the name of an event.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The event with the lowest id: 3.1.6 looks there for the common fields of all.
fn first_event(metadata: &Metadata) -> Option<&Event> {
    let mut ids: Vec<u16> = metadata.event_texts().filter_map(|text| text.id).collect();
    ids.sort_unstable();
    ids.into_iter().find_map(|id| metadata.event_by_id(id))
}

impl CommonField {
    /// Its value; 0 where the record is too short.
    #[inline]
    pub(crate) fn get(&self, data: &[u8]) -> i64 {
        match &self.field {
            Some(field) => field.get(data).unwrap_or(0) as i64,
            None => self.without,
        }
    }
}

impl CommonFields {
    /// The same, when it is settled where all of them are.
    fn settled(self, abi: Abi) -> Self {
        let is_at = |common: CommonField, offset, size| {
            common.field.is_some() && common.field == IntField::at(offset, size, abi)
        };
        let usual = is_at(self.flags, 2, 1)
            && is_at(self.preempt_count, 3, 1)
            && is_at(self.pid, 4, 4)
            && self.migrate_disable.is_none()
            && self.lock_depth.is_none();
        Self { usual, ..self }
    }

    /// The bytes of all of them as a number; `None` when they are not where they usually are.
    #[inline]
    pub(crate) fn word(&self, data: &[u8]) -> Option<u64> {
        let word = data.first_chunk().filter(|_| self.usual)?;
        Some(u64::from_le_bytes(*word) >> ID_BITS)
    }
}

/// Bits of the event's id, before the other common fields.
const ID_BITS: u32 = 16;

impl<'m> ReportFile<'m> {
    /// Prepares a file; formats are parsed when their events occur.
    pub(crate) fn new(
        index: usize,
        metadata: &'m Metadata,
        options: &'m ReportOptions,
        registry: &'m Registry,
        buffers: Vec<BufferStyle>,
    ) -> Self {
        let byte_order = metadata.abi.byte_order;
        let cpus = metadata.buffers.iter().map(|b| b.cpus.iter().map(|data| data.cpu).collect());
        let cpus = cpus.collect();
        let common = match options.compat {
            Compat::V3_1_6 => first_event(metadata),
            Compat::V3_4 => None,
        };
        let id_at = match common {
            Some(event) => event.format.common_field("common_type").map(|f| f.offset as usize),
            None => Some(0),
        };
        let slots = ById::new();
        let errors = None;
        Self {
            index,
            metadata,
            options,
            registry,
            buffers,
            cpus,
            byte_order,
            common,
            id_at,
            slots,
            errors,
        }
    }

    /// The same with bounds of its time stamps.
    pub(crate) fn with_errors(self, errors: Option<TimeErrors>) -> Self {
        Self { errors, ..self }
    }

    /// Names of addresses.
    pub(crate) fn names(&self) -> &dyn Names {
        self.metadata
    }

    /// The event id at the start of a record's bytes.
    #[inline]
    pub(crate) fn event_id(&self, data: &[u8]) -> Option<u16> {
        let bytes = data.get(self.id_at?..)?.first_chunk::<2>()?;
        Some(self.byte_order.u16(*bytes))
    }

    /// How an event is printed; `None` when the file has no format for it.
    #[inline]
    pub(crate) fn slot(&self, id: u16) -> Option<&Slot<'m>> {
        self.slots.get_or_init(id, || self.make_slot(id))?.as_ref()
    }

    /// The name the file has for a task.
    #[inline]
    pub(crate) fn saved_comm(&self, pid: i32) -> Option<&[u8]> {
        self.metadata.tasks().comm(pid)
    }

    /// The pids that the file has names for.
    pub(crate) fn saved_pids(&self) -> impl Iterator<Item = i32> {
        self.metadata.tasks().pids()
    }

    /// The name of the kernel function that an address lies in.
    pub(crate) fn function_name(&self, address: u64) -> Option<&str> {
        Some(self.metadata.symbols().find(address)?.name)
    }

    /// The CPUs of a buffer.
    pub(crate) fn cpus(&self, buffer: u32) -> &[u32] {
        self.cpus.get(buffer as usize).map_or(&[], Vec::as_slice)
    }

    /// What has to see an event's records in order.
    pub(crate) fn observer(&self, id: u16) -> Option<Box<dyn Observer>> {
        let slot = self.slot(id)?;
        if slot.raw {
            return BinaryTexts::new(slot.event).map(|texts| Box::new(texts) as Box<dyn Observer>);
        }
        slot.handler.as_ref()?.observer()
    }

    fn make_slot(&self, id: u16) -> Option<Slot<'m>> {
        let event = self.metadata.event_by_id(id)?;
        let format = &event.format;
        if self.options.compat == Compat::V3_1_6 && !is_name(&format.name) {
            return None;
        }
        let chosen = |selector: &Option<super::EventSelector>| {
            selector.as_ref().is_some_and(|s| s.accepts(&format.system, &format.name))
        };
        let raw = self.options.raw || chosen(&self.options.raw_events);
        let handled = !raw && !self.options.no_handlers && !chosen(&self.options.no_handler_events);
        let handled = handled && format.fields_are_whole;
        let handler = if handled { self.bind(format) } else { None };
        let common_format = self.common.map_or(format, |event| &event.format);
        let own = |name| Some(IntField::new(common_format.common_field(name)?, event.abi()));
        // A broken format does not tell; these have been at the same place in all kernels.
        let common = |name, offset, size| match own(name) {
            Some(field) => CommonField { field, without: 0 },
            None if self.common.is_some() => CommonField { field: None, without: -1 },
            None => CommonField { field: IntField::at(offset, size, event.abi()), without: 0 },
        };
        let mut name = Vec::with_capacity(NAME_WIDTH + 2);
        name.extend_from_slice(format.name.as_bytes());
        name.extend_from_slice(b": ");
        number::blanks(&mut name, NAME_WIDTH.saturating_sub(format.name.len()));
        Some(Slot {
            event,
            handler,
            raw,
            name: Text::new(&name),
            wakeup: if self.options.wakeups { Role::of(format) } else { None },
            common: CommonFields {
                pid: common("common_pid", 4, 4),
                flags: common("common_flags", 2, 1),
                preempt_count: common("common_preempt_count", 3, 1),
                migrate_disable: own("common_migrate_disable").flatten(),
                lock_depth: own("common_lock_depth").flatten(),
                usual: false,
            }
            .settled(event.abi()),
            filters: EventFilters::new(&self.options.filters, self.index, format),
            json: self.options.json.map(|_| EventFields::new(event)),
        })
    }

    fn bind(&self, format: &'m EventFormat) -> Option<Box<dyn Handler>> {
        self.registry.bind(&Binding {
            format,
            other: &|system, name| self.format_by_name(system, name),
            options: &self.options.handler_options,
            compat: self.options.compat,
        })
    }

    fn format_by_name(&self, system: &str, name: &str) -> Option<&'m EventFormat> {
        let line = format!("name: {name}\n");
        let metadata = self.metadata;
        let text = metadata
            .event_texts()
            .find(|t| t.system == system && t.text.starts_with(line.as_bytes()))?;
        Some(&metadata.event_by_id(text.id?)?.format)
    }
}
