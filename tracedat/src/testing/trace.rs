//! Whole files of versions 6 and 7 in memory, spelled out byte by byte.

use super::workload::{Generated, GeneratedBuffer};
use super::{FormatTexts, Workload};
use crate::abi::ByteOrder;
use crate::compress::Codec;
use crate::write::{Head, System, option};

/// Makes a file of a workload.
#[derive(Clone, Debug)]
pub struct TraceBuilder {
    /// The events.
    pub workload: Workload,
    /// 6 or 7.
    pub version: u8,
    /// Compression of version 7.
    pub codec: Codec,
}

impl TraceBuilder {
    /// A file of version 7 without compression.
    pub fn new(workload: Workload) -> Self {
        Self { workload, version: 7, codec: Codec::None }
    }

    /// Sets the version, 6 or 7.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// Sets the compression.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        self.build_from(&self.workload.generate())
    }

    /// The file of events that were made before.
    pub fn build_from(&self, made: &Generated) -> Vec<u8> {
        let mut file = Bytes { bytes: Vec::new(), order: self.workload.abi.byte_order };
        file.put(b"\x17\x08\x44tracing");
        file.put(&[b'0' + self.version, 0]);
        file.put(&[u8::from(file.order == ByteOrder::Big), self.workload.abi.long_size]);
        file.u32(self.workload.page_size);
        match self.version {
            6 => self.version_6(&mut file, made),
            _ => self.version_7(&mut file, made),
        }
        file.bytes
    }

    /// The same metadata for a [`crate::write::Writer`].
    pub fn head(&self) -> Head {
        let texts = FormatTexts { abi: self.workload.abi };
        let formats = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect();
        let systems = texts
            .systems()
            .into_iter()
            .map(|(name, texts)| System { name: name.to_owned(), formats: formats(texts) });
        Head {
            header_page: texts.header_page(self.workload.page_size as usize).into_bytes(),
            header_event: texts.header_event().into_bytes(),
            ftrace_formats: formats(texts.ftrace()),
            systems: systems.collect(),
            kallsyms: KALLSYMS.into(),
            printk_formats: PRINTK_FORMATS.into(),
            cmdlines: self.workload.cmdlines().into_bytes(),
            cpus: self.workload.cpus,
            options: vec![
                option::trace_clock(CLOCKS),
                option::uname(UNAME[0], UNAME[1], UNAME[2], UNAME[3]),
            ],
        }
    }

    fn version_6(&self, file: &mut Bytes, made: &Generated) {
        self.metadata(|_, body| file.put(&body.bytes));
        file.u32(self.workload.cpus);
        file.put(b"options  \0");
        for (id, data) in options() {
            file.option(id, &data);
        }
        let mut patches = Vec::new();
        for buffer in made.buffers.iter().skip(1) {
            file.option(3, &[&[0; 8], buffer.name.as_bytes(), b"\0"].concat());
            patches.push(file.bytes.len() - buffer.name.len() - 9);
        }
        file.u16(0);
        for (index, buffer) in made.buffers.iter().enumerate() {
            if let Some(&patch) = index.checked_sub(1).and_then(|index| patches.get(index)) {
                file.patch_u64(patch, file.bytes.len() as u64);
            }
            self.version_6_buffer(file, buffer);
        }
    }

    fn version_6_buffer(&self, file: &mut Bytes, buffer: &GeneratedBuffer) {
        file.put(b"flyrecord\0");
        let table_end = file.bytes.len() + 16 * buffer.cpus.len() + 8 + 7;
        let mut offset = table_end.next_multiple_of(self.workload.page_size as usize);
        for cpu in &buffer.cpus {
            file.u64(offset as u64);
            file.u64(cpu.bytes.len() as u64);
            offset += cpu.bytes.len();
        }
        file.u64(7);
        file.put(b"[local]");
        for cpu in &buffer.cpus {
            file.align(self.workload.page_size);
            file.put(&cpu.bytes);
        }
    }

    fn version_7(&self, file: &mut Bytes, made: &Generated) {
        file.str0(self.codec.name());
        file.str0(self.codec.version());
        let mut link = file.bytes.len();
        file.u64(0);
        let mut sections = Vec::new();
        self.metadata(|id, body| {
            sections.push((id, file.bytes.len() as u64));
            self.section(file, id, &body.bytes);
        });
        file.patch_u64(link, file.bytes.len() as u64);
        link = self.options_section(file, |file| {
            for (id, offset) in sections {
                let offset = file.encoded_u64(offset);
                file.option(id, &offset);
            }
            for (id, data) in options() {
                file.option(id, &data);
            }
            file.u16(8);
            file.u32(4);
            file.u32(self.workload.cpus);
        });
        for buffer in &made.buffers {
            let start = file.bytes.len() as u64;
            let mut option = Bytes { bytes: Vec::new(), order: file.order };
            option.u64(start);
            option.str0(&buffer.name);
            option.str0("local");
            option.u32(self.workload.page_size);
            option.u32(buffer.cpus.len() as u32);
            file.section_header(3, u16::from(self.codec != Codec::None));
            for (number, cpu) in buffer.cpus.iter().enumerate() {
                file.align(self.workload.page_size);
                let offset = file.bytes.len();
                self.cpu_data(file, &cpu.bytes);
                option.u32(number as u32);
                option.u64(offset as u64);
                option.u64((file.bytes.len() - offset) as u64);
            }
            file.end_section(start as usize);
            file.patch_u64(link, file.bytes.len() as u64);
            link = self.options_section(file, |file| file.option(3, &option.bytes));
        }
        // No section has a description.
        self.section(file, 15, b"");
    }

    fn cpu_data(&self, file: &mut Bytes, data: &[u8]) {
        if self.codec == Codec::None {
            return file.put(data);
        }
        let chunks = data.chunks(self.workload.page_size as usize * 10);
        file.u32(chunks.len() as u32);
        for chunk in chunks {
            self.compressed(file, chunk);
        }
    }

    fn compressed(&self, file: &mut Bytes, data: &[u8]) {
        let mut packed = Vec::new();
        self.codec.compress_into(data, &mut packed).expect("a codec of this build");
        file.u32(packed.len() as u32);
        file.u32(data.len() as u32);
        file.put(&packed);
    }

    fn section(&self, file: &mut Bytes, id: u16, body: &[u8]) {
        let start = file.bytes.len();
        file.section_header(id, u16::from(self.codec != Codec::None));
        if self.codec == Codec::None {
            file.put(body);
        } else {
            self.compressed(file, body);
        }
        file.end_section(start);
    }

    /// Returns where its DONE has the offset of the next one.
    fn options_section(&self, file: &mut Bytes, options: impl FnOnce(&mut Bytes)) -> usize {
        let start = file.bytes.len();
        file.section_header(0, 0);
        options(file);
        file.option(0, &[0; 8]);
        file.end_section(start);
        file.bytes.len() - 8
    }

    /// The parts that both versions have in this order, with their identifiers in version 7.
    fn metadata(&self, mut part: impl FnMut(u16, &Bytes)) {
        let head = self.head();
        let order = self.workload.abi.byte_order;
        let body = || Bytes { bytes: Vec::new(), order };

        let mut info = body();
        info.put(b"header_page\0");
        info.text_64(&head.header_page);
        info.put(b"header_event\0");
        info.text_64(&head.header_event);
        part(16, &info);

        let mut ftrace = body();
        ftrace.formats(&head.ftrace_formats);
        part(17, &ftrace);

        let mut systems = body();
        systems.u32(head.systems.len() as u32);
        for system in &head.systems {
            systems.str0(&system.name);
            systems.formats(&system.formats);
        }
        part(18, &systems);

        for (id, text) in [(19, &head.kallsyms), (20, &head.printk_formats)] {
            let mut short = body();
            short.u32(text.len() as u32);
            short.put(text);
            part(id, &short);
        }
        let mut cmdlines = body();
        cmdlines.text_64(&head.cmdlines);
        part(21, &cmdlines);
    }
}

const KALLSYMS: &str = "ffffffff81000000 T _stext\nffffffff81100000 T do_work\n\
                        ffffffff81180000 t helper\t[mod]\nffffffff81200000 T _etext\n";
const PRINTK_FORMATS: &str = "0xffffffff82000000 : \"value %d\\n\"\n";
const CLOCKS: &str = "[local] global counter uptime perf mono mono_raw boot tai x86-tsc\n";
const UNAME: [&str; 4] = ["Linux", "testing", "6.12.0", "x86_64"];

fn options() -> Vec<(u16, Vec<u8>)> {
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    vec![(4, text(CLOCKS)), (5, text(&UNAME.join(" ")))]
}

/// Bytes of a file, in its byte order.
struct Bytes {
    bytes: Vec<u8>,
    order: ByteOrder,
}

impl Bytes {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn u16(&mut self, value: u16) {
        self.put(&self.order.put_u16(value));
    }

    fn u32(&mut self, value: u32) {
        self.put(&self.order.put_u32(value));
    }

    fn u64(&mut self, value: u64) {
        self.put(&self.order.put_u64(value));
    }

    fn encoded_u64(&self, value: u64) -> [u8; 8] {
        self.order.put_u64(value)
    }

    fn patch_u64(&mut self, at: usize, value: u64) {
        let value = self.order.put_u64(value);
        self.bytes[at..at + 8].copy_from_slice(&value);
    }

    fn str0(&mut self, text: &str) {
        self.put(text.as_bytes());
        self.put(&[0]);
    }

    fn text_64(&mut self, text: &[u8]) {
        self.u64(text.len() as u64);
        self.put(text);
    }

    fn formats(&mut self, formats: &[Vec<u8>]) {
        self.u32(formats.len() as u32);
        for format in formats {
            self.text_64(format);
        }
    }

    fn option(&mut self, id: u16, data: &[u8]) {
        self.u16(id);
        self.u32(data.len() as u32);
        self.put(data);
    }

    fn align(&mut self, page_size: u32) {
        let len = self.bytes.len().next_multiple_of(page_size as usize);
        self.bytes.resize(len, 0);
    }

    fn section_header(&mut self, id: u16, flags: u16) {
        self.u16(id);
        self.u16(flags);
        self.u32(u32::MAX);
        self.u64(0);
    }

    fn end_section(&mut self, start: usize) {
        let size = self.bytes.len() - start - 16;
        self.patch_u64(start + 8, size as u64);
    }
}
