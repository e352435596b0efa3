//! What the file says of losses on the way.

use trace_transport::session::Received;
use tracedat::layout::OptionId;

use super::stream::DataStream;

/// Statistics of each CPU that lost something, in the manner of the kernel's, as old readers print
/// whatever is there.
pub(super) fn options(streams: &[DataStream], received: &[Received]) -> Vec<(OptionId, Vec<u8>)> {
    let mut options = Vec::new();
    for (stream, received) in streams.iter().zip(received) {
        let foreign = stream.foreign();
        if received.lost_bytes == 0 && foreign == 0 {
            continue;
        }
        let mut text =
            format!("CPU: {}\nlost on the way: {} bytes\n", stream.cpu, received.lost_bytes);
        if received.lost_datagrams > 0 {
            text += &format!("lost datagrams: {}\n", received.lost_datagrams);
        }
        if foreign > 0 {
            text += &format!("foreign datagrams: {foreign}\n");
        }
        options.push((OptionId::CPU_STAT, (text + "\0").into_bytes()));
    }
    options
}
