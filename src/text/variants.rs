//! Chinese characters that are written in two ways, such as 軟 and 软: one of them stands for both, so that a question in
//! traditional characters finds a text in simplified ones. The table is made when the first of them is met.

use hanconv::RawDictionary;
use std::sync::LazyLock;

/// OpenCC's table of traditional characters with their simplified forms. Named as a constant so that the crate's larger
/// tables, of phrases, are not linked.
const SIMPLIFIED: &str = RawDictionary::TSCharacters.text();
/// Forms that are common in Taiwan or in older texts, which the table takes for characters of their own.
const FURTHER: &str =
    "著着 瞭了 甚什 藉借 馀余 裏里 裡里 麼么 麽么 幺么 乾干 覆复 帳账 週周 佈布 佔占 祇只 隻只 台台 臺台 檯台 颱台";

static TABLE: LazyLock<Box<[(char, char)]>> = LazyLock::new(|| {
    let listed = SIMPLIFIED.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.chars().next()?, words.next()?.chars().next()?))
    });
    let further = FURTHER.split(' ').filter_map(|pair| Some((pair.chars().next()?, pair.chars().nth(1)?)));
    let pairs: std::collections::BTreeMap<char, char> = listed.chain(further).collect();
    let root = |c: char| std::iter::successors(Some(c), |c| pairs.get(c).copied().filter(|to| to != c)).take(4).last();
    pairs.keys().filter_map(|c| Some((*c, root(*c)?))).filter(|(from, to)| from != to).collect()
});

/// The character that stands for this one and its variants.
pub(crate) fn folded(c: char) -> char {
    if !matches!(u32::from(c), 0x3400..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3134F) {
        return c;
    }
    TABLE.binary_search_by_key(&c, |(from, _)| *from).map_or(c, |at| TABLE[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_become_one() {
        for pair in ["软軟", "设設", "为為", "么麼", "发發", "后後", "网網", "体體", "里裡", "过過", "个個", "着著"]
        {
            let forms: Vec<char> = pair.chars().map(folded).collect();
            assert_eq!(forms[0], forms[1], "{pair}");
        }
        assert_eq!((folded('a'), folded('の'), folded('中')), ('a', 'の', '中'));
        assert!(TABLE.len() > 4000 && TABLE.is_sorted());
        assert!(TABLE.iter().all(|(_, root)| folded(*root) == *root), "one step is enough");
    }
}
