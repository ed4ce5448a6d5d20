//! The harness's own reader and writer of header blocks, which hand-written clients are built
//! on: by the examples of RFC 7541, appendix C.

use crate::harness::frames::Head;
use crate::harness::header_blocks::{Reader, Writer};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|c| *c != b' ').collect();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn read(reader: &mut Reader, block: &[u8]) -> Result<String, String> {
    let mut fields = Vec::new();
    reader.read(block, |name, value| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        fields.push(format!("{}={}", text(name), text(value)));
    })?;
    Ok(fields.join("; "))
}

#[test]
fn fields_are_read_that_refer_to_earlier_ones() {
    let mut reader = Reader::default();
    let mut says = |hex: &str| read(&mut reader, &bytes(hex)).unwrap();
    assert_eq!(
        says("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"),
        ":method=GET; :scheme=http; :path=/; :authority=www.example.com"
    );
    assert_eq!(
        says("8286 84be 5808 6e6f 2d63 6163 6865"),
        ":method=GET; :scheme=http; :path=/; :authority=www.example.com; cache-control=no-cache"
    );
    assert_eq!(
        says("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"),
        ":method=GET; :scheme=https; :path=/index.html; :authority=www.example.com; \
         custom-key=custom-value"
    );
    // Without a place in the table, once as what is never to have one.
    assert_eq!(says("040c 2f73 616d 706c 652f 7061 7468"), ":path=/sample/path");
    assert_eq!(says("1008 7061 7373 776f 7264 0673 6563 7265 74"), "password=secret");
    assert_eq!(says("bebf"), "custom-key=custom-value; cache-control=no-cache");
}

#[test]
fn the_oldest_fields_make_room_for_new_ones() {
    let mut reader = Reader::default();
    let mut says = |hex: &str| read(&mut reader, &bytes(hex));
    let date = "4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 54";
    // The table is made as small as that of the example: 256 bytes.
    let first = format!(
        "3fe1 01 4803 3330 3258 0770 7269 7661 7465 611d {date} 6e17 6874 7470 733a 2f2f \
         7777 772e 6578 616d 706c 652e 636f 6d"
    );
    let rest = "cache-control=private; date=Mon, 21 Oct 2013 20:13:21 GMT; \
                location=https://www.example.com";
    assert_eq!(says(&first).unwrap(), format!(":status=302; {rest}"));
    assert_eq!(says("4803 3330 37c1 c0bf").unwrap(), format!(":status=307; {rest}"));
    assert_eq!(says("be").unwrap(), ":status=307", "the newest one is the first");
    assert_eq!(says("c2").unwrap_err(), "a header refers to entry 66, which is not there");
}

#[test]
fn what_is_not_a_header_block_is_refused() {
    for (hex, why) in [
        ("80", "a header refers to entry 0, which is not there"),
        ("be", "a header refers to entry 62, which is not there"),
        ("ffff ffff ffff", "a number in a header block is too large"),
        ("ff", "a header block ends in a number"),
        ("4005 6e", "a header block ends in a text"),
        ("4882 6402", "a header is in Huffman's code, which is not read here"),
        ("3fe2 1f", "a table of 4097 bytes for headers"),
    ] {
        assert_eq!(read(&mut Reader::default(), &bytes(hex)).unwrap_err(), why, "{hex}");
    }
}

#[test]
fn fields_that_are_sent_again_are_a_byte_each() {
    let (mut writer, mut reader) = (Writer::default(), Reader::default());
    let path = "/a.service/".repeat(30);
    let fields = [(":method", "POST"), (":path", path.as_str()), ("te", "trailers")];
    let said = format!(":method=POST; :path={path}; te=trailers");
    for (known, length) in [(0, 354), (2, 3)] {
        assert_eq!(writer.known(), known);
        let mut block = Vec::new();
        fields.iter().for_each(|(name, value)| writer.put(&mut block, name, value));
        assert_eq!(block.len(), length);
        assert_eq!(read(&mut reader, &block).unwrap(), said);
    }
    // What finds no room is sent each time, and takes none from the others.
    let mut block = Vec::new();
    writer.put(&mut block, "large", &"x".repeat(4000));
    writer.put(&mut block, "te", "trailers");
    assert!(read(&mut reader, &block).unwrap().ends_with("x; te=trailers"));
    assert_eq!(writer.known(), 2);
}

#[test]
fn the_head_of_a_frame_is_written_as_it_is_read() {
    let head = Head { length: 0x01_02_03, kind: 4, flags: 5, stream: 0x06_07_08_09 };
    assert_eq!(head.bytes(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(Head::of(&head.bytes()), head);
    // The first bit of the stream's number means nothing.
    assert_eq!(Head::of(&[1, 2, 3, 4, 5, 0x86, 7, 8, 9]), head);
}
