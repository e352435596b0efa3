//! Writes `trace.dat`, versions 6 and 7.
//!
//! Writing has two phases. [`Writer::create`] writes all that is known before the first event;
//! [`Writer::finish`] adds the options known at the end and the data of the CPUs. Between the two
//! the head of version 7 may travel to another machine, where [`Writer::resume`] goes on with it.
//!
//! ```
//! use std::io::Cursor;
//! use tracedat::{Abi, write};
//! use tracedat::write::{BufferData, CpuSource, Head, Settings, Writer};
//!
//! let head = Head { cpus: 1, ..Head::default() };
//! let mut file = Cursor::new(Vec::new());
//! let writer = Writer::create(&mut file, Settings::new(Abi::NATIVE, 4096), &head)?;
//! let mut data: &[u8] = &[0; 4096];
//! let placed = writer.finish(
//!     &[write::option::trace_clock("[local]")],
//!     vec![BufferData {
//!         name: "",
//!         clock: "local",
//!         page_size: 4096,
//!         cpus: vec![CpuSource::from_reader(0, &mut data, 4096)],
//!     }],
//! )?;
//! assert_eq!(placed[0].size, 4096);
//! # Ok::<(), write::WriteError>(())
//! ```

pub mod ahead;
mod append;
mod chunk;
mod chunk_sink;
mod chunk_writer;
mod cpu_data;
mod end_sink;
mod error;
mod head;
pub mod live;
mod of_metadata;
pub mod option;
mod output;
mod region;
mod resume;
mod text_packer;
mod v6;
mod v7;

pub use append::Appended;
pub use chunk_sink::{ChunkSink, PendingChunks};
pub use chunk_writer::ChunkWriter;
pub use cpu_data::{BufferData, CpuSource, Placement, TextData};
pub use end_sink::{EndSink, Kept};
pub use error::{DataOf, WriteError};
pub(crate) use head::Parts;
pub use head::{Head, System};
pub use live::{Closing, LiveBuffer, LiveLayout, Recorded, Region};
pub use region::{Cap, RegionFile};
pub use text_packer::{PackedText, TextPacker};
pub use v7::PackedHead;
pub(crate) use v7::{CopyBody, SectionCopy};

use std::io::{Read, Seek, Write};

use crate::abi::Abi;
use crate::compress::Codec;
use crate::layout::{OptionId, SectionId};
use output::Output;

/// A version of the file format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// Metadata in fixed order, no compression; what old programs read.
    V6,
    /// Sections, options in a chain, compression.
    #[default]
    V7,
}

/// What a file is like, whatever is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Version of the format.
    pub version: Version,
    /// Compression of sections and of CPU data; version 6 has none.
    pub codec: Codec,
    /// The traced machine; all integers of the file have its byte order.
    pub abi: Abi,
    /// Size of `long` in the program that records, in bytes.
    pub user_long_size: u8,
    /// Size of sub-buffers, in bytes: in version 6 of all, in version 7 of those before any
    /// buffer tells its own.
    pub page_size: u32,
}

impl Settings {
    /// Version 7 without compression, recorded by a program of the traced kernel's `long` size.
    pub const fn new(abi: Abi, page_size: u32) -> Self {
        let user_long_size = abi.long_size;
        Self { version: Version::V7, codec: Codec::None, abi, user_long_size, page_size }
    }
}

/// Writes one file.
#[derive(Debug)]
pub struct Writer<W: Write + Seek> {
    output: Output<W>,
    settings: Settings,
    body: Body,
}

/// What is to be remembered between the two phases.
#[derive(Debug)]
enum Body {
    V6(v6::Body),
    V7(v7::Body),
}

impl<W: Write + Seek> Writer<W> {
    /// Writes all that is known before the first event, from offset 0 of `output` on, and flushes.
    ///
    /// # Errors
    /// When `output` refuses, or something is larger than the format can tell.
    pub fn create(output: W, settings: Settings, head: &Head) -> Result<Self, WriteError> {
        Self::create_from_parts(output, settings, &head.parts(settings.abi.byte_order)?)
    }

    /// The same for a head that is encoded already.
    pub(crate) fn create_from_parts(
        output: W,
        settings: Settings,
        head: &Parts,
    ) -> Result<Self, WriteError> {
        let mut output = Output::new(output, settings.abi.byte_order, 0)?;
        head::write_start(&mut output, &settings)?;
        let body = match settings.version {
            Version::V6 => Body::V6(v6::create(&mut output, &settings, head)?),
            Version::V7 => Body::V7(v7::create(&mut output, &settings, head)?),
        };
        output.flush()?;
        Ok(Self { output, settings, body })
    }

    /// What the file is like.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Adds a text of `saved_cmdlines` that was not known when the head was written.
    ///
    /// # Errors
    /// In version 6, where it has its place in the head; when the output refuses.
    pub fn add_cmdlines(&mut self, text: &[u8]) -> Result<(), WriteError> {
        match &mut self.body {
            Body::V6(_) => Err(WriteError::NotInVersion6 { what: "command lines after the head" }),
            Body::V7(body) => body.add_cmdlines(&mut self.output, text),
        }
    }

    /// Adds a section that nothing else here knows, and the option that points to it.
    ///
    /// # Errors
    /// In version 6, which has no sections; when the output refuses.
    pub fn add_section(
        &mut self,
        id: OptionId,
        description: &str,
        body: &[u8],
    ) -> Result<(), WriteError> {
        match &mut self.body {
            Body::V6(_) => Err(WriteError::NotInVersion6 { what: "sections" }),
            Body::V7(v7) => v7.section(&mut self.output, SectionId(id.0), description, body),
        }
    }

    /// Adds a section of another file.
    pub(crate) fn add_copy(&mut self, copy: SectionCopy<'_>) -> Result<(), WriteError> {
        match &mut self.body {
            Body::V6(_) => Err(WriteError::NotInVersion6 { what: "sections" }),
            Body::V7(body) => body.add_copy(&mut self.output, copy),
        }
    }

    /// Adds options and the data of all buffers, and completes the file. Returns where the data
    /// of each CPU is, in the order given.
    ///
    /// Data is streamed: memory does not grow with its size. The last sub-buffer of a CPU is
    /// filled with zeros when it is not whole.
    ///
    /// # Errors
    /// When the output refuses or a source ends before its size; the file is then not complete.
    pub fn finish(
        mut self,
        options: &[(OptionId, Vec<u8>)],
        mut buffers: Vec<BufferData<'_>>,
    ) -> Result<Vec<Placement>, WriteError> {
        cpu_data::check(&buffers)?;
        let placements = match self.body {
            Body::V6(body) => {
                body.finish(&mut self.output, &self.settings, options, &mut buffers)?
            }
            Body::V7(body) => body.finish(&mut self.output, options, &mut buffers)?,
        };
        self.output.flush()?;
        Ok(placements)
    }

    /// Adds what was not known when the head was written: texts that were empty there, and options.
    ///
    /// # Errors
    /// In version 6, where all has its place in the head; when the output refuses.
    pub fn add_head(&mut self, head: &Head) -> Result<(), WriteError> {
        let packed = PackedHead::new(head, self.settings.codec, self.settings.abi.byte_order)?;
        self.add_packed_head(&packed)
    }

    /// The same with what was encoded and compressed before, as the file is.
    ///
    /// # Errors
    /// As [`Writer::add_head`].
    pub fn add_packed_head(&mut self, head: &PackedHead) -> Result<(), WriteError> {
        match &mut self.body {
            Body::V6(_) => return Err(WriteError::NotInVersion6 { what: "texts after the head" }),
            Body::V7(body) => body.add_head(&mut self.output, head)?,
        }
        self.output.flush()
    }

    /// Bytes that are written of all but the data of CPUs.
    pub fn head_len(&self) -> u64 {
        self.output.position()
    }

    /// Makes room for data of CPUs, which is then written to the regions of `layout` by whoever
    /// records. From now on the file can be read, also when nobody completes it.
    ///
    /// # Errors
    /// In version 6; when the output refuses.
    pub fn reserve(&mut self, layout: &LiveLayout) -> Result<(), WriteError> {
        match &mut self.body {
            Body::V6(_) => return Err(WriteError::NotInVersion6 { what: "regions" }),
            Body::V7(body) => body.reserve(&mut self.output, layout)?,
        }
        self.output.flush()
    }

    /// Where in the file stands how far in the region with this number its data starts: 8 bytes.
    /// `None` unless the layout [keeps the end](LiveLayout::keeping_the_end) and was reserved.
    pub fn start_place(&self, layout: &LiveLayout, region: usize) -> Option<u64> {
        match &self.body {
            Body::V6(_) => None,
            Body::V7(body) => body.start_place(layout, region),
        }
    }

    /// Adds options and completes a file whose data is in the regions of `layout` already, so much
    /// as `recorded` says for each.
    ///
    /// # Errors
    /// In version 6; when the output refuses, or there is no room for the head.
    pub fn close(
        mut self,
        options: &[(OptionId, Vec<u8>)],
        layout: &LiveLayout,
        recorded: &[Recorded],
    ) -> Result<Closing<W>, WriteError> {
        layout.check(recorded)?;
        let Body::V7(body) = self.body else {
            return Err(WriteError::NotInVersion6 { what: "regions" });
        };
        let (arranged, link) = body.close(&mut self.output, options, layout, recorded)?;
        self.output.flush()?;
        Ok(Closing::new(self.output, arranged, link, layout, recorded))
    }

    /// Completes a recording as a file of version 6. Its head is written behind that of the
    /// recording, which leads to the data until it is taken out as the last of the gaps.
    ///
    /// # Errors
    /// When the output refuses, there is no room for the head, or data is compressed.
    pub fn close_as_version_6(
        mut self,
        head: &Head,
        layout: &LiveLayout,
        recorded: &[Recorded],
    ) -> Result<Closing<W>, WriteError> {
        layout.check(recorded)?;
        let Body::V7(live) = self.body else {
            return Err(WriteError::NotInVersion6 { what: "regions" });
        };
        let (output, settings) =
            (&mut self.output, Settings { version: Version::V6, ..self.settings });
        let base = output.position().next_multiple_of(layout.align);
        output.begin_at(base)?;
        head::write_start(output, &settings)?;
        let body = v6::create(output, &settings, &head.parts(settings.abi.byte_order)?)?;
        let arranged = body.close(output, &settings, base, layout, recorded)?;
        output.forget_base();
        live.tell_gaps(output, layout, recorded, &arranged.gaps)?;
        output.flush()?;
        Ok(Closing::new(self.output, arranged, None, layout, recorded))
    }

    /// Adds options and the text of `trace` of each buffer instead of CPU data, as latency tracers
    /// need it, and completes the file.
    ///
    /// # Errors
    /// As [`Writer::finish`]; in version 6 also for more than the top-level buffer.
    pub fn finish_text(
        mut self,
        options: &[(OptionId, Vec<u8>)],
        mut texts: Vec<TextData<'_>>,
    ) -> Result<(), WriteError> {
        match self.body {
            Body::V6(body) => body.finish_text(&mut self.output, options, &mut texts)?,
            Body::V7(body) => body.finish_text(&mut self.output, options, &mut texts)?,
        }
        self.output.flush()
    }
}

impl<W: Write + Seek> Writer<W> {
    /// Ends a head that someone else will add data to. In version 6 that ends its options; those of version 7 can be
    /// added to as they are.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn end_head(mut self) -> Result<(), WriteError> {
        if let Body::V6(_) = self.body {
            self.output.u16(OptionId::DONE.0)?;
        }
        self.output.flush()
    }
}

impl<W: Read + Write + Seek> Writer<W> {
    /// Goes on with the head of version 7 that `output` holds from offset 0 on; what follows is
    /// appended at its end. The head may come from another machine and is not trusted.
    ///
    /// # Errors
    /// When it is no head of version 7, or is damaged; with the offset.
    pub fn resume(mut output: W) -> Result<Self, WriteError> {
        let found = resume::scan(&mut output)?;
        let settings = found.settings;
        let output = Output::new(output, settings.abi.byte_order, found.end)?;
        let body = v7::Body::resumed(settings.codec, found.last_done, found.strings);
        Ok(Self { output, settings, body: Body::V7(body) })
    }
}
