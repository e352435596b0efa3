//! The types of the running kernel, where it tells them.
#![allow(clippy::unwrap_used, reason = "a test")]

use libtest_mimic::{Arguments, Completion, Trial};
use tracedat::Reader;
use tracedat::btf::{Btf, Parameter, ParameterKind};
use tracedat::compress::Codec;
use tracedat::layout::OptionId;
use tracedat::testing::{TraceBuilder, Workload};
use tracedat::write::{Settings, Version, Writer};

fn main() {
    let arguments = Arguments::from_args();
    let trial = Trial::ignorable_test("functions_of_this_kernel_have_their_parameters", || {
        Ok(match std::fs::read("/sys/kernel/btf/vmlinux") {
            Ok(bytes) => {
                functions(bytes);
                Completion::Completed
            }
            Err(error) => {
                Completion::ignored_with(format!("needs /sys/kernel/btf/vmlinux: {error}"))
            }
        })
    });
    let file = Trial::test("a_file_has_the_types_that_were_written", || {
        written();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![trial, file]).exit();
}

fn functions(bytes: Vec<u8>) {
    let btf = Btf::parse(bytes).unwrap();
    assert!(btf.function_count() > 1000);
    let parameters: Vec<_> = btf.parameters("vfs_read").unwrap().collect();
    let pointer = ParameterKind::Pointer;
    let count = ParameterKind::Integer { size: usize::BITS / 8, signed: false };
    let expected = [("file", pointer), ("buf", pointer), ("count", count), ("pos", pointer)];
    assert_eq!(parameters, expected.map(|(name, value)| Parameter { name, value }));
    assert!(btf.parameters("no_such_function_anywhere").is_none());
}

/// A blob with one function, `f(void)`.
const BLOB: &[u8] = b"\x9f\xeb\x01\0\x18\0\0\0\0\0\0\0\x18\0\0\0\x18\0\0\0\x03\0\0\0\
    \0\0\0\0\0\0\0\x0d\0\0\0\0\x01\0\0\0\0\0\0\x0c\x01\0\0\0\0f\0";

fn written() {
    let workload = Workload::new(1);
    let head = TraceBuilder::new(workload.clone()).head();
    for codec in [Codec::None, Codec::Zlib, Codec::Zstd] {
        for (blob, understood) in [(BLOB, true), (&BLOB[..40], false)] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let settings = Settings {
                version: Version::V7,
                codec,
                ..Settings::new(workload.abi, workload.page_size)
            };
            let mut writer = Writer::create(file.as_file_mut(), settings, &head).unwrap();
            writer.add_section(OptionId::BTF_FILE, "BTF", blob).unwrap();
            writer.finish(&[], Vec::new()).unwrap();
            let Reader { metadata, .. } = Reader::open(file.path()).unwrap();
            let parameters =
                metadata.btf().and_then(|btf| btf.parameters("f")).map(Iterator::count);
            assert_eq!(parameters, understood.then_some(0));
            let told = metadata.warnings().iter().any(|warning| warning.message.contains("BTF"));
            assert_eq!(told, !understood);
        }
    }
}
