//! Bytes of a peer on their way to its decoder.

use trace_transport::Stream;
use trace_transport::message::Decoder;

/// Reads once, as much as the decoder has room for; false when the peer is gone.
pub(crate) fn read_once(stream: &mut Stream, decoder: &mut Decoder) -> bool {
    let space = decoder.space();
    if space.is_empty() {
        return true;
    }
    match stream.try_read(space) {
        Ok(Some(0)) | Err(_) => false,
        Ok(Some(count)) => {
            decoder.filled(count);
            true
        }
        Ok(None) => true,
    }
}
