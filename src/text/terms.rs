//! Text as the words that are compared: one case, one width, one form of variant characters; English words stemmed, names
//! such as `kill_on_drop` whole and in parts, CJK text as overlapping pairs of characters because it has no spaces. The
//! search index, the query and the extractive ranking all use this one reading.

use super::variants::folded;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;
use tantivy::tokenizer::{Language, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization;

/// Longer runs are hashes, keys or encoded data, not words.
const MAX_TERM_BYTES: usize = 64;

/// Words that carry the form of a question or a sentence, not its subject.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "become",
    "becomes", "been", "before", "being", "but", "by", "can", "could", "describe", "did", "do", "does", "doing",
    "done", "during", "each", "either", "else", "exactly", "explain", "find", "for", "from", "get", "give", "had",
    "happen", "happened", "happens", "has", "have", "having", "he", "her", "here", "him", "his", "how", "i", "if",
    "in", "into", "is", "it", "its", "just", "let", "list", "many", "may", "me", "mean", "means", "might", "mine",
    "more", "most", "much", "must", "my", "no", "nor", "not", "of", "off", "on", "one", "only", "or", "other", "our",
    "out", "over", "own", "please", "s", "shall", "she", "should", "show", "so", "some", "such", "t", "tell", "than",
    "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "too", "up", "us", "very",
    "was", "we", "were", "what", "when", "where", "whether", "which", "while", "who", "whom", "whose", "why", "will",
    "with", "within", "without", "would", "you", "your",
];

/// Pairs of characters that Chinese and Japanese questions are made of whatever they ask about. Each stands for its
/// variants too.
const STOP_PAIRS: &[&str] = &[
    "什麼", "甚麼", "如何", "怎麼", "怎樣", "麼樣", "為什", "為何", "哪些", "哪個", "哪裡", "請問", "是否", "可以",
    "能否", "多少", "這個", "那個", "這些", "那些", "一個", "我們", "你們", "他們", "它們", "以及", "或者", "還是",
    "就是", "不是", "的話", "時候", "です", "ます", "すか", "とは", "する", "した", "して", "ある", "いる", "この",
    "その", "どの", "どう", "なぜ", "から", "まで", "ので", "のか", "何で", "では", "には", "との",
];

/// Chinese particles and question words, [`folded`]: a pair that holds one of them says nothing about the subject.
const STOP_CHARACTERS: [char; 10] = ['的', '了', '吗', '呢', '吧', '么', '怎', '哪', '谁', '啥'];

static FOLDED_STOP_PAIRS: LazyLock<HashSet<String>> =
    LazyLock::new(|| STOP_PAIRS.iter().map(|pair| pair.chars().map(folded).collect()).collect());

/// Whether a word, as [`normalized`], says nothing about the subject.
pub(crate) fn is_stop_word(word: &str) -> bool {
    if word.is_ascii() {
        return STOP_WORDS.binary_search(&word).is_ok();
    }
    let is_pair = word.chars().nth(2).is_none();
    is_pair && (word.contains(STOP_CHARACTERS) || FOLDED_STOP_PAIRS.contains(word))
}

/// A text in one case, one width and one form of each variant: `ＡＰＴ` is `apt`, `Café` is `cafe`, `软件` is `軟件`.
pub(crate) fn normalized(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    // The accents of European letters; those of kana and Hangul are put together again.
    let is_accent = |c: &char| matches!(u32::from(*c), 0x300..=0x36F);
    Cow::Owned(text.nfkd().filter(|c| !is_accent(c)).nfc().flat_map(char::to_lowercase).map(folded).collect())
}

/// A passage has to share this many of a question's terms before it counts as found: one shared word of a long question
/// is chance.
pub(crate) fn terms_needed(question_terms: usize) -> usize {
    if question_terms <= 3 { 1 } else { 2 }
}

/// Whether a character belongs to a script that is written without spaces and compared by pairs.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x3005..=0x3007 | 0x3040..=0x30FF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x20000..=0x3134F)
        && c.is_alphanumeric()
        || c == 'ー'
}

/// The analyzer for the search index.
pub(crate) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(Words::default()).filter(Stemmer::new(Language::English)).build()
}

/// Turns texts into terms; keeps the analyzer between texts.
pub(crate) struct Lexer {
    plain: TextAnalyzer,
    stemmed: TextAnalyzer,
}

impl Lexer {
    /// A lexer.
    pub(crate) fn new() -> Self {
        Self { plain: TextAnalyzer::builder(Words::default()).build(), stemmed: analyzer() }
    }

    /// The subject terms of a text, in order, repeats kept, stop words left out.
    pub(crate) fn terms(&mut self, text: &str) -> Vec<String> {
        self.all(text).into_iter().filter(|(word, _)| !is_stop_word(word)).map(|(_, term)| term).collect()
    }

    /// The distinct subject terms of a text in order of appearance; of a text that has none (`what is it?`), all.
    pub(crate) fn query_terms(&mut self, text: &str) -> Vec<String> {
        let terms = distinct(self.terms(text));
        if terms.is_empty() { distinct(self.all(text).into_iter().map(|(_, term)| term).collect()) } else { terms }
    }

    /// Each word with its term. Both streams come from the same tokenizer, so they run in step.
    fn all(&mut self, text: &str) -> Vec<(String, String)> {
        let mut words = Vec::new();
        self.plain.token_stream(text).process(&mut |token| words.push(token.text.clone()));
        let mut terms = Vec::with_capacity(words.len());
        self.stemmed.token_stream(text).process(&mut |token| terms.push(token.text.clone()));
        words.into_iter().zip(terms).collect()
    }
}

/// The subject words of a text as written, in order, without repeats: CJK as whole runs, not as pairs.
pub(crate) fn key_words(text: &str, most: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for run in runs(text) {
        let word = &text[run.from..run.to];
        let lower = normalized(word);
        let known = found.iter().any(|other| normalized(other) == lower);
        if !known && !is_stop_word(&lower) && word.len() <= MAX_TERM_BYTES {
            found.push(word.to_owned());
        }
        if found.len() == most {
            break;
        }
    }
    found
}

fn distinct(terms: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    terms.into_iter().filter(|term| seen.insert(term.clone())).collect()
}

/// A run of letters and digits of one kind of script, as byte offsets.
struct Run {
    from: usize,
    to: usize,
    cjk: bool,
}

fn runs(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (from, c) in text.char_indices() {
        let cjk = is_cjk(c);
        if !cjk && !c.is_alphanumeric() {
            continue;
        }
        let to = from + c.len_utf8();
        match runs.last_mut() {
            Some(last) if last.to == from && last.cjk == cjk => last.to = to,
            _ => runs.push(Run { from, to, cjk }),
        }
    }
    runs
}

/// Whether a character may join the parts of a name.
fn joins(c: char) -> bool {
    matches!(c, '_' | '-' | '.' | '/' | ':' | '+' | '@')
}

/// The names that are made of several words, as byte offsets: `sources.list`, `/etc/apt`, `--all`, `1.2.3`. A path's
/// segments are names too, so that a file is found by its own.
fn names(text: &str, runs: &[Run]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let words: Vec<&Run> = runs.iter().filter(|run| !run.cjk).collect();
    let is_joint = |from: usize, to: usize| {
        let between = &text[from..to];
        (between.len() == 1 || between == "::") && between.chars().all(joins)
    };
    let mut at = 0;
    while at < words.len() {
        let mut last = at;
        while last + 1 < words.len() && is_joint(words[last].to, words[last + 1].from) {
            last += 1;
        }
        let from = words[at].from - sign(&text[..words[at].from]);
        let whole = (from, words[last].to);
        if last > at || from < words[at].from {
            found.push(whole);
        }
        if text[whole.0..whole.1].contains('/') {
            segments(text, whole, &mut found);
        }
        at = last + 1;
    }
    found
}

/// The bytes of the sign that belongs to the name behind it: of an option or of a path from the root.
fn sign(before: &str) -> usize {
    ["--", "-", "/"]
        .into_iter()
        .find(|sign| {
            let outside = before.strip_suffix(sign).map(|outside| outside.chars().next_back());
            outside.is_some_and(|last| last.is_none_or(|c| !c.is_alphanumeric() && !joins(c) || is_cjk(c)))
        })
        .map_or(0, str::len)
}

fn segments(text: &str, (from, to): (usize, usize), found: &mut Vec<(usize, usize)>) {
    let mut begin = from;
    for segment in text[from..to].split('/') {
        let end = begin + segment.len();
        let is_name = segment.contains(joins) && segment.chars().any(char::is_alphanumeric);
        if is_name && (begin, end) != (from, to) {
            found.push((begin, end));
        }
        begin = end + 1;
    }
}

/// The words of a text, as [`normalized`]: single words, pairs of characters in CJK runs, and whole names.
fn words(text: &str) -> Vec<(usize, usize)> {
    let runs = runs(text);
    let mut spans = Vec::with_capacity(runs.len());
    for run in &runs {
        if run.cjk { pairs(text, run, &mut spans) } else { spans.push((run.from, run.to)) }
    }
    spans.extend(names(text, &runs));
    spans.sort_unstable();
    spans.retain(|(from, to)| to - from <= MAX_TERM_BYTES);
    spans
}

/// The tokenizer: words, names, and pairs of characters in CJK runs.
#[derive(Clone, Default)]
struct Words {
    token: Token,
}

/// A normalized text with the spans of its words, and the one that is current.
struct WordStream<'a> {
    text: Cow<'a, str>,
    spans: std::vec::IntoIter<(usize, usize)>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        let text = normalized(text);
        let spans = words(&text).into_iter();
        self.token.reset();
        WordStream { text, spans, token: &mut self.token }
    }
}

fn pairs(text: &str, run: &Run, spans: &mut Vec<(usize, usize)>) {
    let mut starts: Vec<usize> = text[run.from..run.to].char_indices().map(|(at, _)| run.from + at).collect();
    starts.push(run.to);
    if starts.len() == 2 {
        spans.push((run.from, run.to));
    }
    spans.extend(starts.windows(3).map(|window| (window[0], window[2])));
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((from, to)) = self.spans.next() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = from;
        self.token.offset_to = to;
        self.token.text.clear();
        self.token.text.push_str(&self.text[from..to]);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stop_words_are_sorted_for_the_binary_search() {
        assert!(STOP_WORDS.is_sorted());
        assert!(is_stop_word("what") && is_stop_word("a") && is_stop_word("your") && !is_stop_word("lease"));
    }

    #[test]
    fn words_are_stemmed_and_stop_words_are_gone() {
        let mut lexer = Lexer::new();
        assert_eq!(lexer.terms("How are the Leases renewed? They're renewing."), ["leas", "renew", "re", "renew"]);
        assert_eq!(lexer.query_terms("renewed renewing lease"), ["renew", "leas"]);
        assert_eq!(lexer.query_terms("what is it"), ["what", "is", "it"]);
    }

    #[test]
    fn cjk_text_becomes_pairs_and_mixes_with_words() {
        let mut lexer = Lexer::new();
        assert_eq!(lexer.terms("Redis集群模式，是"), ["redi", "集群", "群模", "模式", "是"]);
        assert_eq!(lexer.terms("サーバーの再起動"), ["サー", "ーバ", "バー", "ーの", "の再", "再起", "起动"]);
    }

    #[test]
    fn names_are_found_whole_and_by_part() {
        let mut lexer = Lexer::new();
        assert_eq!(lexer.terms("kill_on_drop"), ["kill", "kill_on_drop", "drop"]);
        assert_eq!(lexer.terms("ls --all, -a"), ["ls", "--all", "-a"]);
        assert_eq!(
            lexer.terms("「/etc/apt/sources.list」。"),
            ["/etc/apt/sources.list", "etc", "apt", "sourc", "sources.list"]
        );
        assert_eq!(lexer.terms("Debian 2.1.3."), ["debian", "2", "2.1.3", "1", "3"]);
        assert_eq!(lexer.terms("執行apt-get更新"), ["执行", "apt", "apt-get", "更新"]);
        assert_eq!(lexer.terms("a - b: c/ d... 3-"), ["b", "c", "d", "3"]);
    }

    #[test]
    fn widths_accents_and_variants_are_one() {
        let mut lexer = Lexer::new();
        assert_eq!(lexer.terms("ＡＰＴ　２．１"), lexer.terms("apt 2.1"));
        assert_eq!(lexer.terms("Café ﬁle"), lexer.terms("cafe file"));
        assert_eq!(lexer.terms("ｻｰﾊﾞｰ"), lexer.terms("サーバー"));
        assert_eq!(lexer.terms("软件包的设置"), lexer.terms("軟件包的設置"));
        assert_eq!(lexer.terms("为什么"), lexer.terms("為什麼"));
        assert!(lexer.terms("請問如何").iter().all(|term| term == "问如"));
        assert_eq!(lexer.terms("한국어"), ["한국", "국어"]);
    }

    #[test]
    fn key_words_keep_their_form() {
        assert_eq!(
            key_words("How does the Master renew leases, and the master's SQLite?", 9),
            ["Master", "renew", "leases", "SQLite"]
        );
        assert_eq!(key_words("任務會遺失嗎？Redis", 9), ["任務會遺失嗎", "Redis"]);
        assert_eq!(key_words("alpha beta gamma", 2), ["alpha", "beta"]);
    }
}
