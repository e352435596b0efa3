//! Version 7: sections found through a chain of options, appended to by patching its last link.

use std::io::{Read, Seek, Write};
use std::thread;

use super::chunk::ChunkWriter;
use super::cpu_data::{BufferData, Placement, TextData};
use super::head::{Head, Parts, long_text, str0};
use super::live::{Arranged, LiveLayout, Recorded};
use super::output::{Output, count};
use super::text_packer::PackedText;
use super::{Settings, WriteError, option};
use crate::abi::ByteOrder;
use crate::compress::Codec;
use crate::layout::{
    CHUNK_SUB_BUFFERS, COMPRESSED, CompressedHeader, Gap, NO_STRING, OptionId, SECTION_HEADER_LEN,
    SectionHeader, SectionId,
};

/// Bytes of text in a compressed chunk: ten pages of 4 KiB.
const TEXT_CHUNK_LEN: u64 = 4096 * CHUNK_SUB_BUFFERS as u64;

/// Bytes of an option before its data.
const OPTION_HEAD: usize = 6;

/// Room for headers and strings around a text.
const ROOM_LEFT: u64 = 64 << 10;

/// Offset of the name's number in a section header.
const STRING_AT: u64 = 4;

/// Offset of the size in a section header.
const SIZE_AT: u64 = 8;

/// What is to be remembered until the end.
#[derive(Debug)]
pub(super) struct Body {
    codec: Codec,
    /// Where the offset of the next options section is to be written.
    link: u64,
    /// Options that wait for the next options section.
    options: Vec<(OptionId, Vec<u8>)>,
    /// Bytes of all STRINGS sections so far.
    strings_len: u32,
    /// Strings that wait for the next STRINGS section.
    strings: Vec<u8>,
    /// What was written of a recording that goes on.
    live: Option<LiveOptions>,
}

/// The options that lead to the data of a recording that goes on: the last ones until it is closed.
#[derive(Debug)]
struct LiveOptions {
    /// Where their section is.
    section: u64,
    /// Where the data of LIVE is.
    live: u64,
    /// Bytes that there are for all but data of CPUs.
    head_room: u64,
}

/// A section that another file has.
pub(crate) struct SectionCopy<'a> {
    pub(crate) id: SectionId,
    /// Its flags, without that for compression when the body comes decompressed.
    pub(crate) flags: u16,
    pub(crate) description: String,
    pub(crate) body: CopyBody<'a>,
    /// Data of the option that points to it.
    pub(crate) pointer: Option<Vec<u8>>,
}

/// The content of such a section.
pub(crate) enum CopyBody<'a> {
    /// To be compressed as the file is.
    Whole(Vec<u8>),
    /// To be copied as it is.
    Stream(&'a mut dyn Read),
}

/// Writes the rest of the header, the sections and the options that are known.
pub(super) fn create<W: Write + Seek>(
    output: &mut Output<W>,
    settings: &Settings,
    head: &Parts,
) -> Result<Body, WriteError> {
    let (codec, order) = (settings.codec, output.order());
    for text in [codec.name(), codec.version()] {
        output.bytes(text.as_bytes())?;
        output.bytes(&[0])?;
    }
    let mut body = Body::resumed(codec, output.position(), 0);
    output.u64(0)?;

    let headers = SectionId::HEADER_INFO;
    body.section(output, headers, description(headers), &head.header_info)?;
    body.add_texts(output, head)?;
    body.options.extend_from_slice(&head.options);
    if !head.options.iter().any(|(id, _)| *id == OptionId::CPU_COUNT) {
        body.options.push(option::cpu_count(head.cpus, order));
    }
    body.write_options(output)?;
    body.write_strings(output)?;
    Ok(body)
}

impl Body {
    /// The state after a head of another writer: `link` is where its last DONE has the offset of
    /// the next options section, `strings_len` the length of its strings.
    pub(super) fn resumed(codec: Codec, link: u64, strings_len: u32) -> Self {
        Self { codec, link, options: Vec::new(), strings_len, strings: Vec::new(), live: None }
    }

    fn add_texts<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        head: &Parts,
    ) -> Result<(), WriteError> {
        for (id, description, part) in texts(head) {
            self.section(output, id, description, part)?;
        }
        Ok(())
    }

    /// Takes over sections of another writer, whose names are not known: gives them those that they have here, and keeps
    /// the options that point to them.
    pub(super) fn adopt<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        sections: &[(SectionId, u64)],
    ) -> Result<(), WriteError> {
        for &(id, at) in sections {
            let string = self.string(description(id))?;
            output.patch(at + STRING_AT, &output.order().put_u32(string))?;
            self.options.push((OptionId(id.0), output.order().put_u64(at).to_vec()));
        }
        Ok(())
    }

    /// Adds texts and options to a head that is written already.
    pub(super) fn add_head<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        head: &PackedHead,
    ) -> Result<(), WriteError> {
        for PackedSection { id, description, len, body } in &head.sections {
            self.check_room(output, body.len())?;
            let start = self.start_section(output, *id, self.flags(), description)?;
            self.write_packed(output, *len, body)?;
            end_section(output, start)?;
            self.options.push((OptionId(id.0), output.order().put_u64(start).to_vec()));
        }
        self.options.extend_from_slice(&head.options);
        let next = self.live.as_ref().map_or(0, |live| live.section);
        self.write_options_before(output, next)
    }

    /// Writes the options that lead to the regions, and the section that they point to.
    pub(super) fn reserve<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        layout: &LiveLayout,
    ) -> Result<(), WriteError> {
        let order = output.order();
        let start = self.start_section(output, SectionId::BUFFER, self.flags(), "recording")?;
        end_section(output, start)?;
        self.write_strings(output)?;
        let waiting = std::mem::take(&mut self.options);
        for (index, buffer) in layout.buffers.iter().enumerate() {
            let mut data = order.put_u64(start).to_vec();
            put_str0(&mut data, "buffer", &buffer.name)?;
            put_str0(&mut data, "clock", &buffer.clock)?;
            data.extend(order.put_u32(buffer.page_size));
            let regions = layout.regions().iter().filter(|region| region.buffer == index);
            data.extend(order.put_u32(count("CPUs of a buffer", buffer.cpus.len())?));
            for region in regions {
                data.extend(order.put_u32(region.cpu));
                data.extend(order.put_u64(region.offset));
                data.extend(order.put_u64(0));
            }
            self.options.push((OptionId::BUFFER, data));
        }
        let live = layout.live().to_bytes(order);
        let before: usize = self.options.iter().map(|(_, data)| OPTION_HEAD + data.len()).sum();
        let section = output.position();
        let live_at = section + (SECTION_HEADER_LEN + before + OPTION_HEAD) as u64;
        self.options.push((OptionId::LIVE, live));
        // A full disk is no reason to lose them.
        let room = vec![0; usize::try_from(layout.buffer_head).unwrap_or_default()];
        for at in layout.heads_apart() {
            output.patch(at, &room)?;
        }
        // What is written later goes between the head and these.
        let link = self.link;
        self.write_options(output)?;
        self.link = link;
        self.options = waiting;
        let head_room = layout.head_room();
        self.live = Some(LiveOptions { section, live: live_at, head_room });
        Ok(())
    }

    /// Where the file tells where the data of the region with this number starts.
    pub(super) fn start_place(&self, layout: &LiveLayout, region: usize) -> Option<u64> {
        let (live, told) = (self.live.as_ref()?, layout.live());
        told.starts.get(region)?;
        Some(live.live + told.starts_at() + 8 * region as u64)
    }

    /// Writes all but the link to the last options, and returns it.
    pub(super) fn close<W: Write + Seek>(
        mut self,
        output: &mut Output<W>,
        options: &[(OptionId, Vec<u8>)],
        layout: &LiveLayout,
        recorded: &[Recorded],
    ) -> Result<(Arranged, Option<(u64, u64)>), WriteError> {
        let order = output.order();
        self.options.extend_from_slice(options);
        let mut strings = Vec::with_capacity(layout.buffers.len());
        for buffer in &layout.buffers {
            strings.push(self.string(&format!("buffer flyrecord {}", buffer.name))?);
        }
        self.write_strings(output)?;

        // Where things are is told before they are there: so the sizes come first.
        let start = output.position();
        let mut first = self.buffer_options(layout, recorded, None, order)?;
        self.options.append(&mut first);
        let options_len: usize =
            self.options.iter().map(|(_, data)| OPTION_HEAD + data.len()).sum();
        let options_len = (SECTION_HEADER_LEN + options_len + OPTION_HEAD + 8) as u64;
        self.check_room(output, options_len as usize)?;
        let head_at = start + options_len;
        let arranged = layout.arrange(0, head_at + SECTION_HEADER_LEN as u64, recorded)?;
        self.options.truncate(self.options.len() - layout.buffers.len());
        let places = Some((&arranged, head_at));
        let mut placed = self.buffer_options(layout, recorded, places, order)?;
        self.options.append(&mut placed);
        let link = self.link;
        self.write_unlinked(output, 0)?;
        debug_assert_eq!(output.position(), head_at);

        let flags = self.flags();
        for head in &arranged.heads {
            let string = strings.get(head.buffer).copied().unwrap_or(NO_STRING);
            let (at, moved) = head.head.unwrap_or((head_at, head_at));
            let size = head.end.saturating_sub(moved + SECTION_HEADER_LEN as u64);
            let header = SectionHeader { id: SectionId::BUFFER, flags, string, size };
            output.patch(at, &header.to_bytes(order))?;
        }
        self.tell_gaps(output, layout, recorded, &arranged.gaps)?;
        Ok((arranged, Some((link, start))))
    }

    /// Tells what will be taken out: from here on a reader finds its way through a file that is
    /// being closed up.
    pub(super) fn tell_gaps<W: Write + Seek>(
        &self,
        output: &mut Output<W>,
        layout: &LiveLayout,
        recorded: &[Recorded],
        gaps: &[Gap],
    ) -> Result<(), WriteError> {
        let Some(live) = &self.live else { return Ok(()) };
        let mut told = layout.live();
        told.file_len = output.end()?;
        for (gap, told) in gaps.iter().zip(&mut told.gaps) {
            *told = *gap;
        }
        for (recorded, told) in recorded.iter().zip(&mut told.starts) {
            *told = recorded.start;
        }
        output.patch(live.live, &told.to_bytes(output.order()))
    }

    /// The options that tell of the buffers; with places as far as these are known.
    fn buffer_options(
        &self,
        layout: &LiveLayout,
        recorded: &[Recorded],
        places: Option<(&Arranged, u64)>,
        order: ByteOrder,
    ) -> Result<Vec<(OptionId, Vec<u8>)>, WriteError> {
        let mut options = Vec::with_capacity(layout.buffers.len());
        for (index, buffer) in layout.buffers.iter().enumerate() {
            let section = places.map_or(0, |(arranged, head_at)| {
                let head = arranged.heads.iter().find(|head| head.buffer == index);
                head.and_then(|head| head.head).map_or(head_at, |(_, moved)| moved)
            });
            let mut data = order.put_u64(section).to_vec();
            put_str0(&mut data, "buffer", &buffer.name)?;
            put_str0(&mut data, "clock", &buffer.clock)?;
            data.extend(order.put_u32(buffer.page_size));
            let used = layout.regions().iter().zip(recorded).enumerate();
            let used = used.filter(|(_, (region, recorded))| {
                region.buffer == index && recorded.size_on_disk > 0
            });
            let used: Vec<_> = used.collect();
            data.extend(order.put_u32(count("CPUs of a buffer", used.len())?));
            for (at, (region, recorded)) in used {
                let offset = places.and_then(|(arranged, _)| arranged.offsets.get(at).copied());
                data.extend(order.put_u32(region.cpu));
                data.extend(order.put_u64(offset.unwrap_or(0)));
                data.extend(order.put_u64(recorded.size_on_disk));
            }
            options.push((OptionId::BUFFER, data));
        }
        Ok(options)
    }

    /// Keeps what is written to the head of a recording that goes on from reaching into its data.
    fn check_room<W: Write + Seek>(
        &self,
        output: &Output<W>,
        len: usize,
    ) -> Result<(), WriteError> {
        let Some(live) = &self.live else { return Ok(()) };
        let end = output.position().saturating_add(len as u64).saturating_add(ROOM_LEFT);
        if end <= live.head_room {
            return Ok(());
        }
        Err(WriteError::TooLarge { what: "head of a recording", size: end, limit: live.head_room })
    }

    /// Adds a section with command lines.
    pub(super) fn add_cmdlines<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        text: &[u8],
    ) -> Result<(), WriteError> {
        let text = long_text(text, output.order());
        self.section(output, SectionId::CMDLINES, description(SectionId::CMDLINES), &text)
    }

    /// Adds a section that is kept as it is, and the option that points to it, if any: its data
    /// starts with the offset.
    pub(super) fn add_copy<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        copy: SectionCopy<'_>,
    ) -> Result<(), WriteError> {
        // What is compressed in a way nobody knows stays as it is, and so does its flag.
        let SectionCopy { id, flags, description, body, pointer } = copy;
        let start = match body {
            CopyBody::Whole(body) => {
                let start = self.start_section(output, id, flags | self.flags(), &description)?;
                self.write_body(output, &body)?;
                start
            }
            CopyBody::Stream(body) => {
                let start = self.start_section(output, id, flags, &description)?;
                let offset = output.position();
                let copied = output.with_inner(|writer| std::io::copy(body, writer))?;
                copied.map_err(|source| WriteError::Io { offset, source })?;
                start
            }
        };
        end_section(output, start)?;
        if let Some(mut data) = pointer {
            let offset = output.order().put_u64(start);
            match data.first_chunk_mut() {
                Some(place) => *place = offset,
                None => data = offset.to_vec(),
            }
            self.options.push((OptionId(id.0), data));
        }
        Ok(())
    }

    /// Writes the data of all buffers, then options and strings.
    pub(super) fn finish<W: Write + Seek>(
        mut self,
        output: &mut Output<W>,
        options: &[(OptionId, Vec<u8>)],
        buffers: &mut [BufferData<'_>],
    ) -> Result<Vec<Placement>, WriteError> {
        self.options.extend_from_slice(options);
        let mut placed = Vec::new();
        if self.codec == Codec::None {
            for buffer in buffers {
                self.write_buffer(output, buffer, None, &mut placed)?;
            }
        } else {
            let sizes = buffers.iter().flat_map(|buffer| &buffer.cpus).map(|cpu| cpu.size);
            let total = sizes.fold(0, u64::saturating_add);
            thread::scope(|scope| {
                let mut chunks = ChunkWriter::new(scope, self.codec, total)?;
                buffers.iter_mut().try_for_each(|buffer| {
                    self.write_buffer(output, buffer, Some(&mut chunks), &mut placed)
                })
            })?;
        }
        self.write_options(output)?;
        self.write_strings(output)?;
        Ok(placed)
    }

    /// Writes texts instead of data, then options and strings.
    pub(super) fn finish_text<W: Write + Seek>(
        mut self,
        output: &mut Output<W>,
        options: &[(OptionId, Vec<u8>)],
        texts: &mut [TextData<'_>],
    ) -> Result<(), WriteError> {
        self.options.extend_from_slice(options);
        for text in texts {
            let description = format!("buffer latency {}", text.name);
            let flags = self.flags();
            let start = self.start_section(output, SectionId::BUFFER_TEXT, flags, &description)?;
            self.write_text(output, text)?;
            end_section(output, start)?;

            let mut data = output.order().put_u64(start).to_vec();
            put_str0(&mut data, "buffer", text.name)?;
            put_str0(&mut data, "clock", text.clock)?;
            self.options.push((OptionId::BUFFER_TEXT, data));
        }
        self.write_options(output)?;
        self.write_strings(output)
    }

    /// Writes a section with the data of one buffer, and keeps the option that points to it.
    fn write_buffer<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        buffer: &mut BufferData<'_>,
        mut chunks: Option<&mut ChunkWriter>,
        placed: &mut Vec<Placement>,
    ) -> Result<(), WriteError> {
        let (name, page_size, order) = (buffer.name, buffer.page_size, output.order());
        let cpus = buffer.cpus.iter_mut().filter(|cpu| cpu.size > 0).collect::<Vec<_>>();
        let description = format!("buffer flyrecord {name}");
        let flags = self.flags();
        let start = self.start_section(output, SectionId::BUFFER, flags, &description)?;

        let mut data = order.put_u64(start).to_vec();
        put_str0(&mut data, "buffer", name)?;
        put_str0(&mut data, "clock", buffer.clock)?;
        data.extend_from_slice(&order.put_u32(page_size));
        data.extend_from_slice(&order.put_u32(count("CPUs of a buffer", cpus.len())?));
        for cpu in cpus {
            output.align(page_size)?;
            let offset = output.position();
            let size = cpu.padded_size(page_size)?;
            match &mut chunks {
                None => cpu.copy_to(name, page_size, output)?,
                Some(chunks) => {
                    let chunk_len = chunk_len(page_size)?;
                    let mut done = 0;
                    cpu.start(name)?;
                    chunks.write(output, |raw| {
                        let len = (cpu.size - done).min(chunk_len);
                        cpu.read(name, done, len as usize, raw)?;
                        done += len;
                        raw.resize(raw.len().next_multiple_of(page_size as usize), 0);
                        Ok(())
                    })?;
                }
            }
            let size_on_disk = output.position() - offset;
            data.extend_from_slice(&order.put_u32(cpu.cpu));
            data.extend_from_slice(&order.put_u64(offset));
            data.extend_from_slice(&order.put_u64(size_on_disk));
            let (buffer, cpu) = (name.to_owned(), cpu.cpu);
            placed.push(Placement { buffer, cpu, offset, size_on_disk, size });
        }
        end_section(output, start)?;
        self.options.push((OptionId::BUFFER, data));
        Ok(())
    }

    /// Writes the body of a section of text, as it is or in chunks.
    fn write_text<W: Write + Seek>(
        &self,
        output: &mut Output<W>,
        text: &mut TextData<'_>,
    ) -> Result<(), WriteError> {
        let failed = |offset, source| WriteError::Io { offset, source };
        if self.codec == Codec::None {
            let offset = output.position();
            let copied = output.with_inner(|writer| std::io::copy(&mut text.data, writer))?;
            return copied.map(drop).map_err(|source| failed(offset, source));
        }
        thread::scope(|scope| {
            let mut chunks = ChunkWriter::new(scope, self.codec, 0)?;
            chunks.write(output, |raw| {
                raw.clear();
                let read = (&mut text.data).take(TEXT_CHUNK_LEN).read_to_end(raw);
                read.map(drop).map_err(|source| failed(0, source))
            })?;
            Ok(())
        })
    }

    /// Writes a section of metadata, compressed where the file is, and keeps the option that
    /// points to it.
    pub(super) fn section<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        id: SectionId,
        description: &str,
        body: &[u8],
    ) -> Result<(), WriteError> {
        let flags = self.flags();
        let start = self.start_section(output, id, flags, description)?;
        self.write_body(output, body)?;
        end_section(output, start)?;
        self.options.push((OptionId(id.0), output.order().put_u64(start).to_vec()));
        Ok(())
    }

    fn write_body<W: Write + Seek>(
        &self,
        output: &mut Output<W>,
        body: &[u8],
    ) -> Result<(), WriteError> {
        if self.codec == Codec::None {
            return output.bytes(body);
        }
        let mut packed = Vec::new();
        self.codec.compress_into(body, &mut packed)?;
        self.write_packed(output, body.len(), &packed)
    }

    /// Writes a body that is compressed as the file is, from `len` bytes.
    fn write_packed<W: Write + Seek>(
        &self,
        output: &mut Output<W>,
        len: usize,
        packed: &[u8],
    ) -> Result<(), WriteError> {
        if self.codec != Codec::None {
            let header = CompressedHeader {
                compressed: count("compressed section", packed.len())?,
                uncompressed: count("section", len)?,
            };
            output.bytes(&header.to_bytes(output.order()))?;
        }
        output.bytes(packed)
    }

    /// Writes the options that wait and strings, which nobody finds before they are linked to.
    /// Returns where the options are.
    pub(super) fn append<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        options: &[(OptionId, Vec<u8>)],
    ) -> Result<u64, WriteError> {
        self.options.extend_from_slice(options);
        let start = self.write_unlinked(output, 0)?;
        self.write_strings(output)?;
        Ok(start)
    }

    /// Makes the last DONE tell where the next options section is.
    pub(super) fn link<W: Write + Seek>(
        &self,
        output: &mut Output<W>,
        start: u64,
    ) -> Result<(), WriteError> {
        output.patch(self.link, &output.order().put_u64(start))
    }

    /// Writes the options that wait as a section that is never compressed, and links to it.
    fn write_options<W: Write + Seek>(&mut self, output: &mut Output<W>) -> Result<(), WriteError> {
        self.write_options_before(output, 0)
    }

    /// The same, with the section at `next` as the one after it.
    fn write_options_before<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        next: u64,
    ) -> Result<(), WriteError> {
        let start = self.write_unlinked(output, next)?;
        self.link(output, start)?;
        self.link = output.position() - 8;
        Ok(())
    }

    /// Writes the options that wait as a section that nothing links to yet, with the section at
    /// `next` as the one after it; returns where it is.
    fn write_unlinked<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        next: u64,
    ) -> Result<u64, WriteError> {
        let start = self.start_section(output, SectionId::OPTIONS, 0, "options")?;
        let done = (OptionId::DONE, output.order().put_u64(next).to_vec());
        for (id, data) in self.options.drain(..).chain([done]) {
            output.u16(id.0)?;
            output.u32(count("option", data.len())?)?;
            output.bytes(&data)?;
        }
        end_section(output, start)?;
        Ok(start)
    }

    /// Writes the strings that wait as a section; one that no option points to.
    fn write_strings<W: Write + Seek>(&mut self, output: &mut Output<W>) -> Result<(), WriteError> {
        let flags = self.flags();
        let start = self.start_section(output, SectionId::STRINGS, flags, "strings")?;
        let strings = std::mem::take(&mut self.strings);
        self.write_body(output, &strings)?;
        end_section(output, start)
    }

    fn start_section<W: Write + Seek>(
        &mut self,
        output: &mut Output<W>,
        id: SectionId,
        flags: u16,
        description: &str,
    ) -> Result<u64, WriteError> {
        let start = output.position();
        let string = self.string(description)?;
        let header = SectionHeader { id, flags, string, size: 0 };
        output.bytes(&header.to_bytes(output.order()))?;
        Ok(start)
    }

    /// Keeps a string for the next STRINGS section; returns its number.
    fn string(&mut self, text: &str) -> Result<u32, WriteError> {
        let string = self.strings_len;
        put_str0(&mut self.strings, "section", text)?;
        let len = count("strings", text.len() + 1)?;
        self.strings_len = string.checked_add(len).ok_or(WriteError::TooLarge {
            what: "strings",
            size: u64::from(string) + u64::from(len),
            limit: u64::from(u32::MAX),
        })?;
        Ok(string)
    }

    fn flags(&self) -> u16 {
        if self.codec == Codec::None { 0 } else { COMPRESSED }
    }
}

/// The texts of a head that are not empty, and their sections.
fn texts(head: &Parts) -> impl Iterator<Item = (SectionId, &'static str, &Vec<u8>)> {
    let parts = [
        (SectionId::FTRACE_EVENTS, &head.ftrace_events),
        (SectionId::EVENT_FORMATS, &head.event_formats),
        (SectionId::KALLSYMS, &head.kallsyms),
        (SectionId::PRINTK, &head.printk_formats),
        (SectionId::CMDLINES, &head.cmdlines),
    ];
    let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
    parts.map(|(id, part)| (id, description(id), part))
}

/// Sections of text, and what they are called.
pub(super) const TEXTS: [(SectionId, &str); 6] = [
    (SectionId::HEADER_INFO, "headers"),
    (SectionId::FTRACE_EVENTS, "ftrace events"),
    (SectionId::EVENT_FORMATS, "events format"),
    (SectionId::KALLSYMS, "kallsyms"),
    (SectionId::PRINTK, "printk"),
    (SectionId::CMDLINES, "command lines"),
];

fn description(id: SectionId) -> &'static str {
    TEXTS.iter().find(|(known, _)| *known == id).map_or("", |(_, description)| description)
}

/// Texts and options that were not known when the head was written, ready to be written: making
/// them so takes longer than writing, and can be done by another thread.
#[derive(Clone, Debug, Default)]
pub struct PackedHead {
    sections: Vec<PackedSection>,
    options: Vec<(OptionId, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct PackedSection {
    id: SectionId,
    description: &'static str,
    /// Bytes before compression.
    len: usize,
    body: Vec<u8>,
}

impl PackedHead {
    /// Encodes and compresses the texts of `head` that are not empty, and takes its options.
    ///
    /// # Errors
    /// When a text is larger than the format can tell, or the codec is not in this build.
    pub fn new(head: &Head, codec: Codec, order: ByteOrder) -> Result<Self, WriteError> {
        let mut parts = head.parts(order)?;
        // A list of none would stand for what the head had.
        if head.ftrace_formats.is_empty() {
            parts.ftrace_events.clear();
        }
        if head.systems.is_empty() {
            parts.event_formats.clear();
        }
        let mut sections = Vec::new();
        for (id, description, part) in texts(&parts) {
            let mut body = Vec::new();
            codec.compress_into(part, &mut body)?;
            sections.push(PackedSection { id, description, len: part.len(), body });
        }
        Ok(Self { sections, options: parts.options })
    }

    /// `/proc/kallsyms`, which was compressed as it came.
    #[must_use]
    pub fn of_kallsyms(text: PackedText) -> Self {
        let PackedText { len, body } = text;
        let (id, description) = (SectionId::KALLSYMS, "kallsyms");
        let sections = vec![PackedSection { id, description, len, body }];
        Self { sections, options: Vec::new() }
    }
}

/// Puts the size of what was written since into the header at `start`.
fn end_section<W: Write + Seek>(output: &mut Output<W>, start: u64) -> Result<(), WriteError> {
    let size = output.position() - start - SECTION_HEADER_LEN as u64;
    output.patch(start + SIZE_AT, &output.order().put_u64(size))
}

/// Bytes of sub-buffers in a chunk.
fn chunk_len(page_size: u32) -> Result<u64, WriteError> {
    page_size.checked_mul(CHUNK_SUB_BUFFERS).map(u64::from).ok_or(WriteError::TooLarge {
        what: "sub-buffer size",
        size: u64::from(page_size),
        limit: u64::from(u32::MAX / CHUNK_SUB_BUFFERS),
    })
}

fn put_str0(data: &mut Vec<u8>, what: &'static str, name: &str) -> Result<(), WriteError> {
    data.extend_from_slice(str0(what, name)?.as_bytes());
    data.push(0);
    Ok(())
}
