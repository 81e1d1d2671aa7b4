//! Bytes as text: Unicode by its mark or by its form, what a document declares, and a guess for the rest, which knows
//! Big5, GBK, Shift-JIS and the Windows code pages.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// Bytes looked at to tell text from other data.
const PROBE_BYTES: usize = 8192;
/// One control character in so many is too many for text.
const RARE: usize = 20;

/// The text of a file; none when it is no text.
pub(super) fn decode(bytes: &[u8], declared: Option<&'static Encoding>) -> Option<String> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return Some(encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned());
    }
    if is_binary(bytes) {
        return None;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(text.to_owned());
    }
    if is_damaged_utf8(bytes) {
        return Some(String::from_utf8_lossy(bytes).into_owned());
    }
    let encoding = declared.unwrap_or_else(|| guess(bytes));
    Some(encoding.decode_without_bom_handling(bytes).0.into_owned())
}

fn is_binary(bytes: &[u8]) -> bool {
    let probe = &bytes[..bytes.len().min(PROBE_BYTES)];
    // Escape is left out: terminals' colours stand in logs, and ISO-2022 begins with it.
    let controls = probe.iter().filter(|byte| matches!(byte, 0x01..=0x07 | 0x0e..=0x1a | 0x1c..=0x1f)).count();
    probe.contains(&0) || controls * RARE > probe.len()
}

/// UTF-8 in which a few bytes went wrong, and not another encoding: its sequences of several bytes hardly come by chance.
fn is_damaged_utf8(bytes: &[u8]) -> bool {
    let (mut whole, mut broken) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        whole += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    whole >= broken * 10
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{BIG5, GBK, UTF_16BE, WINDOWS_1252};
    use proptest::prelude::*;

    const TRADITIONAL: &str = "伺服器當機時，已接受的任務不會遺失。任務的狀態儲存在資料庫裡，重新啟動之後會繼續執行。";
    const SIMPLIFIED: &str = "服务器崩溃时，已接受的任务不会丢失。任务的状态保存在数据库里，重新启动之后会继续执行。";

    #[test]
    fn unicode_is_known_by_its_mark_or_its_form() {
        let wide: Vec<u8> = TRADITIONAL.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&[&[0xff, 0xfe][..], &wide].concat(), None).as_deref(), Some(TRADITIONAL));
        let wide: Vec<u8> = "a界".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&[&[0xfe, 0xff][..], &wide].concat(), Some(UTF_16BE)).as_deref(), Some("a界"));
        assert_eq!(decode("\u{feff}text".as_bytes(), None).as_deref(), Some("text"));
        assert_eq!(decode(TRADITIONAL.as_bytes(), Some(BIG5)).as_deref(), Some(TRADITIONAL), "wrongly declared");
    }

    #[test]
    fn older_encodings_are_declared_or_guessed() {
        for (encoding, text) in [(BIG5, TRADITIONAL), (GBK, SIMPLIFIED)] {
            let bytes = encoding.encode(text).0;
            assert_eq!(decode(&bytes, None).as_deref(), Some(text), "guessed {}", encoding.name());
            assert_eq!(decode(&bytes, Some(encoding)).as_deref(), Some(text));
        }
        assert_eq!(decode(&WINDOWS_1252.encode("café latte").0, None).as_deref(), Some("café latte"));
    }

    #[test]
    fn damage_is_marked_and_data_is_no_text() {
        let mut bytes = TRADITIONAL.as_bytes().to_vec();
        bytes[0] = b'?';
        let text = decode(&bytes, None).unwrap();
        assert!(text.contains('\u{fffd}') && text.ends_with("繼續執行。"));
        assert_eq!(decode(b"\x7fELF\x02\x01\x01\0\0\0", None), None);
        assert_eq!(decode(&(0..32).cycle().take(999).collect::<Vec<u8>>(), None), None);
        assert_eq!(decode(b"", None).as_deref(), Some(""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, None);
        }
    }
}
