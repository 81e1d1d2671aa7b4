//! One document of each format, and whatever else a folder may hold under a document's name.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write as _;

fn text(name: &str, bytes: &[u8]) -> String {
    read(name, bytes.to_vec()).unwrap().text
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn the_endings_are_sorted_for_the_binary_search() {
    assert!(ENDINGS.is_sorted());
    for name in ["a.md", "A.HTML", "a.txt.gz", "ls.1", "perl.3pm.gz", "a.b.pdf", "x.8"] {
        assert!(is_document(name), "{name}");
    }
    for name in ["a", "a.rs", ".md", "a.gz", "a.0", "lib.so.1.2.33", "a.1TOOLONG", "a.png", "a.css"] {
        assert!(!is_document(name), "{name}");
    }
}

#[test]
fn html_becomes_headings_paragraphs_lists_tables_and_code() {
    let page = r#"<!DOCTYPE html><html><head><title>Site</title><style>p{}</style><script>if (a<b) "<p>no</p>"</script></head>
<body><nav><ul><li>Home</li></ul></nav><div class="toc wide"><div>Contents</div>no</div>
<h1>The   <em>store</em></h1>
<p>Kept &amp; safe,
5 * 3 &lt; 20 &#x5B58;</p><p># not a title</p>
<ul><li><p>One</p></li><li>Two<ul><li>Deep</li></ul></li></ul>
<dl><dt><code>--flag</code></dt><dd><p>Its meaning</p></dd></dl>
<table><tr><th>Name</th><th>Size</th></tr><tr><td>a|b</td><td>7</td></tr></table>
<table><tr><td>Alone</td></tr><tr><td><p>Laid out</p><pre>
make
  test</pre></td></tr></table>
<h2>End</h2>Last<noscript>no</noscript><p hidden>no</p><svg><text>no</text></svg> words"#;
    let expected = "# The store\n\nKept & safe,\n5 \\* 3 < 20 存\n\n\\# not a title\n\n- One\n- Two\n- Deep\n\
                    - `--flag`: Its meaning\n| Name | Size |\n| a\\|b | 7 |\n\nAlone\n\nLaid out\n\n```\nmake\n  test\n\
                    ```\n\n## End\n\nLast words\n\n";
    let document = read("a.html", page.into()).unwrap();
    assert_eq!(document.text, expected);
    let line = |words: &str| expected.lines().position(|line| line.contains(words)).unwrap() as u32 + 1;
    for (words, place) in [("The store", 3), ("20 存", 5), ("Deep", 6), ("a\\|b", 8), ("test", 11), ("Last", 12)] {
        assert_eq!(document.place(line(words)), place, "{words}");
    }
}

#[test]
fn html_without_a_heading_has_its_title_and_its_declared_encoding() {
    let page = "<html><head><meta charset=\"big5\"><title>手冊</title></head><body>任務不會遺失。</body></html>";
    let bytes = encoding_rs::BIG5.encode(page).0;
    assert_eq!(text("a.htm", &bytes), "# 手冊\n\n任務不會遺失。\n\n");
    let xhtml =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><html><head><title/><script src=\"x\"/></head><p>Text</p></html>";
    assert_eq!(text("a.xhtml", xhtml.as_bytes()), "Text\n\n");
}

#[test]
fn manual_pages_become_sections_and_items() {
    let page = r#".\" a comment
.de XX
no
..
.TH LS 1 2022 GNU 使用者命令
.SH 名稱
ls \- 列出目錄內容
.SH "SEE ALSO"
\fBls\fP [\fI\,選項\/\fP]... \(aqx\(aq \s-1SMALL\s0 \*(lqq\*(rq \[u4E2D]
.TP
\fB\-a\fP, \fB\-\-all\fP
不要忽略
以點號起始的條目
.IP "\fB\-b\fR" 4
Second.
.IP \(bu 2
Third.
.PP
See
.BR find (1),
.B bold
text.
.nf
code  \-x
.B kept
.fi
.ie t \{\
no
.\}
.el yes
.TS
tab(;);
l l.
Name;T{
of two
lines
T}
.TE
"#;
    let expected = "# ls(1)\n\n## 名稱\n\nls - 列出目錄內容\n\n## SEE ALSO\n\nls [選項]... 'x' SMALL “q” 中\n\n\
                    - -a, --all: 不要忽略\n以點號起始的條目\n- -b: Second.\n- Third.\n\nSee\nfind(1),\nbold\ntext.\n\n\
                    ```\ncode  -x\nkept\n```\n\nyes\n\n| Name | of two lines |\n\n";
    assert_eq!(text("ls.1.gz", &packed(page.as_bytes())), expected);
}

#[test]
fn mdoc_is_read_as_far_as_its_words() {
    let page = ".Dd May 2020\n.Dt CAT 1\n.Os\n.Sh NAME\n.Nm cat\n.Nd join files\n.Sh SYNOPSIS\n.Nm\n.Op Fl abc\n.Op Ar file ...\n\
                .Bl -tag\n.It Fl a Ar n\nFirst.\n.El\n.Pp\nSee\n.Xr ls 1 ,\n.Dq quoted words .\n";
    assert_eq!(
        text("cat.1", page.as_bytes()),
        "# cat(1)\n\n## NAME\n\ncat\njoin files\n\n## SYNOPSIS\n\ncat\n[-abc]\n[file ...]\n\n- -a n: First.\n\nSee\nls(1),\n“quoted words.”\n\n"
    );
}

#[test]
fn content_decides_how_a_file_is_read() {
    assert_eq!(text("notes.7", b"Only notes of July.\n"), "Only notes of July.\n");
    assert_eq!(text("a.md.gz", &packed(b"# T\n")), "# T\n");
    assert_eq!(text("a.adoc", b"= T\n"), "# T\n");
    assert_eq!(read("a.txt", b"%PDF-1.7 broken".to_vec()), Err(Unread::Malformed));
    assert_eq!(read("a.pdf", b"no pdf".to_vec()), Err(Unread::Malformed));
}

#[test]
fn a_pdf_has_its_text_by_page_in_english_and_chinese() {
    let bytes = include_bytes!("../../../tests/fixtures/documents/leases.pdf");
    let document = read("leases.pdf", bytes.to_vec()).unwrap();
    let place = |words: &str| {
        let line = document.text.lines().position(|line| line.contains(words));
        document.place(line.unwrap_or_else(|| panic!("{words} is not in {}", document.text)) as u32 + 1)
    };
    assert_eq!(place("# 1.1 Leases"), 1);
    assert_eq!(place("A lease is renewed by every heartbeat"), 1);
    assert_eq!(place("主控程序當機時，任務不會遺失"), 2);
}

#[test]
fn what_is_no_text_is_refused_with_a_reason() {
    assert_eq!(read("a.md", Vec::new()), Err(Unread::NoText));
    assert_eq!(read("a.html", b"<p></p><script>x</script>".to_vec()), Err(Unread::NoText));
    assert_eq!(read("alias.1", b".so man1/other.1\n".to_vec()), Err(Unread::NoText));
    assert_eq!(read("a.md", b"\x7fELF\0\0".to_vec()), Err(Unread::Binary));
    assert_eq!(read("a.md", vec![b'x'; MAX_TEXT_BYTES + 1]), Err(Unread::TooLarge));
    assert_eq!(read("a.md.gz", packed(&vec![b'x'; MAX_FILE_BYTES as usize + 1])), Err(Unread::TooLarge), "a bomb");
    assert_eq!(read("a.md.gz", packed(b"text")[..12].to_vec()), Err(Unread::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_document_makes_a_reader_panic(
        html in "(<(/?(table|tr|td|th|p|li|dd|dt|pre|code|h1|h2|title|head|body|script|nav|div class=\"toc\")/?>)|[a*`# \n界&;<]){0,80}",
        troff in "((\\.|')(TH|SH|TP|IP|B|It|Op|nf|fi|TS|TE|ie t|el|de|ig|if n|Bd|Ed|Dt)|[ \n\"a\\\\\\[({*'|界.-]|\\\\f|\\\\s|T\\{|T\\}){0,80}",
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        for name in ["a.html", "a.1", "a.txt", "a.md", "a.adoc", "a.gz"] {
            let _ = read(name, html.clone().into_bytes());
            let _ = read(name, format!(".TH A 1\n{troff}").into_bytes());
            let _ = read(name, bytes.clone());
        }
        let mut pdf = include_bytes!("../../../tests/fixtures/documents/leases.pdf").to_vec();
        for (at, byte) in bytes.iter().enumerate() {
            let place = (at * 7919 + usize::from(*byte) * 131) % pdf.len();
            if at % 8 == 0 {
                pdf[place] = *byte;
            }
        }
        let _ = read("a.pdf", pdf);
    }
}
