//! The language of a question, and every phrase of the provider's own in it. What is quoted stays as it stands.

use crate::text::terms::is_cjk;

/// A text that has this share of Chinese characters among its letters is Chinese: commands and names stay what they are.
const CHINESE_SHARE: f64 = 0.15;

/// A language that the provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// English, and every language that it does not speak.
    English,
    /// Chinese in traditional characters.
    Chinese,
}

impl Language {
    /// The language of a question. One that mixes is Chinese when it has as many Chinese characters as other words:
    /// `看 nginx 的 log` is, `What does 任務 mean?` is not.
    pub(super) fn of_question(question: &str) -> Self {
        let chinese = question.chars().filter(|c| is_chinese(*c)).count();
        let words = question.split(|c: char| !c.is_alphanumeric() || is_cjk(c)).filter(|word| !word.is_empty()).count();
        let is_japanese = question.chars().any(|c| matches!(c, '\u{3040}'..='\u{30ff}'));
        if chinese > 0 && chinese >= words && !is_japanese { Self::Chinese } else { Self::English }
    }

    /// The language of a document's text; none when it has too few letters to tell.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let letters = text.chars().filter(|c| c.is_alphabetic()).count();
        let chinese = text.chars().filter(|c| is_chinese(*c)).count();
        if letters < 4 {
            None
        } else if chinese as f64 >= CHINESE_SHARE * letters as f64 {
            Some(Self::Chinese)
        } else {
            Some(Self::English)
        }
    }

    /// Ends every answer that quotes.
    pub(super) fn note(self) -> &'static str {
        match self {
            Self::English => "(extractive answer: sentences quoted from the documents, no language model was used)",
            Self::Chinese => "（摘錄式回答：句子直接引自文件，沒有使用語言模型）",
        }
    }

    /// Ends every other answer.
    pub(super) fn note_without_quotes(self) -> &'static str {
        match self {
            Self::English => "(extractive provider: no language model was used)",
            Self::Chinese => "（摘錄式提供者：沒有使用語言模型）",
        }
    }

    /// The analyst's answer. The line begins with `Search terms:` in every language, the retriever looks for it.
    pub(super) fn search_terms(self, terms: &str) -> String {
        let note = match self {
            Self::English => {
                "(extractive provider: these are the question's own words; no documents were consulted at this step, and \
                 no language model was used)"
            }
            Self::Chinese => "（摘錄式提供者：以上是問題本身的詞；這一步沒有查閱文件，也沒有使用語言模型）",
        };
        format!("Search terms: {terms}\n{note}")
    }

    /// When no passage was found or given.
    pub(super) fn nothing_given(self) -> String {
        let text = match self {
            Self::English => {
                "Not found in the documents: no passages were found or given at this step, so there is nothing to quote."
            }
            Self::Chinese => "文件中找不到答案：這一步沒有找到或收到任何段落，所以沒有可以引用的內容。",
        };
        format!("{text}{}{}", self.space(), self.note_without_quotes())
    }

    /// When no passage speaks of the question.
    pub(super) fn nothing_found(self, words: &[String]) -> String {
        let text = match self {
            Self::English => {
                let words = words.join(", ");
                format!(
                    "Not found in the documents: the passages found do not contain an answer to this question (looked \
                     for: {words})."
                )
            }
            Self::Chinese => {
                format!("文件中找不到答案：找到的段落都沒有談到這個問題（查詢的詞：{}）。", words.join("、"))
            }
        };
        format!("{text}{}{}", self.space(), self.note_without_quotes())
    }

    /// Before quotes that are all in another language than the question.
    pub(super) fn quoted_as_they_are(self) -> &'static str {
        match self {
            Self::English => "Only documents in another language speak of this; quoted as they are:",
            Self::Chinese => "只有其他語言的文件談到這個問題，以下照原文引用：",
        }
    }

    /// Before the quotes of a further passage.
    pub(super) fn also(self, heading: Option<&str>) -> String {
        match (self, heading) {
            (Self::English, Some(heading)) => format!("See also “{heading}”: "),
            (Self::English, None) => "See also: ".into(),
            (Self::Chinese, Some(heading)) => format!("另見「{heading}」："),
            (Self::Chinese, None) => "另見：".into(),
        }
    }

    /// Before code that stands alone.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::English => "The documents give:",
            Self::Chinese => "文件中的寫法：",
        }
    }

    /// What stands between two sentences.
    pub(super) fn space(self) -> &'static str {
        match self {
            Self::English => " ",
            Self::Chinese => "",
        }
    }
}

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_mix_languages_have_one() {
        for chinese in ["主控程序當機時，任務會遺失嗎？", "看 nginx 的 log", "chattr +i 是做什麼的？", "用 gpg 加密"]
        {
            assert_eq!(Language::of_question(chinese), Language::Chinese, "{chinese}");
        }
        for english in ["What does 任務 mean here?", "reset", "", "42?", "Wie lange?", "タスクは失われますか"]
        {
            assert_eq!(Language::of_question(english), Language::English, "{english}");
        }
    }

    #[test]
    fn texts_with_commands_keep_their_language_and_numbers_have_none() {
        assert_eq!(Language::of_text("使用 apt-get install -t bullseye-backports 安裝套件"), Some(Language::Chinese));
        assert_eq!(Language::of_text("sudo apt-get install package-name"), Some(Language::English));
        assert_eq!(Language::of_text("8000 | 0x1f"), None);
    }
}
