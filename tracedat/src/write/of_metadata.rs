//! What a file that was read has, for one that is written from it.

use super::{Head, Settings, System, Version, WriteError};
use crate::compress::Codec;
use crate::layout::OptionId;
use crate::metadata::Metadata;

impl Settings {
    /// Those of a file that was read.
    ///
    /// # Errors
    /// When its compression is not known.
    pub fn of(metadata: &Metadata) -> Result<Self, WriteError> {
        let name = &metadata.compression.name;
        let codec = match Codec::from_name(name) {
            Some(codec) => codec,
            None if name.is_empty() => Codec::None,
            None => return Err(WriteError::UnknownCompression { name: name.clone() }),
        };
        Ok(Self {
            version: if metadata.version < 7 { Version::V6 } else { Version::V7 },
            codec,
            abi: metadata.abi,
            user_long_size: metadata.user_long_size,
            page_size: metadata.page_size,
        })
    }
}

impl Head {
    /// That of a file that was read: its texts, and all options but those that tell where
    /// something is in the file.
    pub fn of(metadata: &Metadata) -> Self {
        let mut head = Self {
            header_page: metadata.header_page_text().to_vec(),
            header_event: metadata.header_event_text().to_vec(),
            kallsyms: metadata.kallsyms_text().to_vec(),
            printk_formats: metadata.printk_text().to_vec(),
            cmdlines: metadata.cmdlines_text().to_vec(),
            cpus: cpus(metadata),
            ..Self::default()
        };
        for event in metadata.event_texts() {
            let text = event.text.to_vec();
            if event.system == "ftrace" {
                head.ftrace_formats.push(text);
                continue;
            }
            match head.systems.last_mut().filter(|system| system.name == event.system) {
                Some(system) => system.formats.push(text),
                None => {
                    let name = event.system.to_owned();
                    head.systems.push(System { name, formats: vec![text] });
                }
            }
        }
        let kept = metadata.options().iter().filter(|option| !is_place(option.id));
        head.options = kept.map(|option| (option.id, option.data.clone())).collect();
        head
    }
}

/// CPUs of the machine, and no less than have data.
fn cpus(metadata: &Metadata) -> u32 {
    let with_data = metadata.buffers.iter().flat_map(|buffer| &buffer.cpus);
    with_data
        .filter(|data| data.size > 0)
        .map(|data| data.cpu.saturating_add(1))
        .fold(metadata.cpus, u32::max)
}

/// Whether an option is about the file more than about the trace: the writer makes its own.
fn is_place(id: OptionId) -> bool {
    matches!(
        id,
        OptionId::DONE
            | OptionId::BUFFER
            | OptionId::CPU_COUNT
            | OptionId::HEADER_INFO
            | OptionId::FTRACE_EVENTS
            | OptionId::EVENT_FORMATS
            | OptionId::KALLSYMS
            | OptionId::PRINTK
            | OptionId::CMDLINES
            | OptionId::BUFFER_TEXT
            | OptionId::BTF_FILE
            | OptionId::MODULES_FILE
    )
}
