//! What events of `kmem` tell.

use rustc_hash::FxHashMap;

use super::Bytes;
use crate::abi::ByteOrder;
use crate::event_format::EventFormat;
use crate::metadata::Metadata;
use crate::plugin::IntField;

/// What a record tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Observed {
    /// Memory was given out.
    Allocated { call_site: u64, address: u64, bytes: Bytes },
    /// Memory was given back.
    Freed { address: u64 },
}

/// The events of a file by number, looked up when they occur first.
pub(super) struct Events<'m> {
    metadata: &'m Metadata,
    byte_order: ByteOrder,
    fields: FxHashMap<u16, Option<Fields>>,
}

/// Where an event has its numbers.
enum Fields {
    Allocation { call_site: IntField, address: IntField, requested: IntField, allocated: IntField },
    Free { address: IntField },
}

impl<'m> Events<'m> {
    pub(super) fn new(metadata: &'m Metadata) -> Self {
        Self { metadata, byte_order: metadata.abi.byte_order, fields: FxHashMap::default() }
    }

    /// What a record tells; `None` for other events and for records that are too short.
    #[inline]
    pub(super) fn observe(&mut self, data: &[u8]) -> Option<Observed> {
        let id = self.byte_order.u16(*data.first_chunk()?);
        let metadata = self.metadata;
        let fields =
            self.fields.entry(id).or_insert_with(|| Fields::of(&metadata.event_by_id(id)?.format));
        match fields.as_ref()? {
            Fields::Free { address } => Some(Observed::Freed { address: address.get(data)? }),
            Fields::Allocation { call_site, address, requested, allocated } => {
                let bytes = Bytes {
                    requested: size(requested.get(data)?),
                    allocated: size(allocated.get(data)?),
                };
                let (call_site, address) = (call_site.get(data)?, address.get(data)?);
                Some(Observed::Allocated { call_site, address, bytes })
            }
        }
    }
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Fields {
    fn of(format: &EventFormat) -> Option<Self> {
        let int = |name: &str| IntField::new(format.event_field(name)?, format.abi);
        match (format.system.as_str(), format.name.as_str()) {
            ("kmem", "kmalloc" | "kmalloc_node" | "kmem_cache_alloc" | "kmem_cache_alloc_node") => {
                Some(Self::Allocation {
                    call_site: int("call_site")?,
                    address: int("ptr")?,
                    requested: int("bytes_req")?,
                    allocated: int("bytes_alloc")?,
                })
            }
            ("kmem", "kfree" | "kmem_cache_free") => Some(Self::Free { address: int("ptr")? }),
            _ => None,
        }
    }
}
