//! Sentences in Markdown, as plain text.

/// The text without backticks, and with the words of each link alone.
pub fn plain(markdown: &str) -> String {
    let (mut text, mut rest) = (String::new(), markdown);
    while let Some((before, link)) = rest.split_once('[') {
        text.push_str(before);
        let words = link.split_once("](").and_then(|(words, target)| {
            let (_, after) = target.split_once(')')?;
            Some((words, after))
        });
        match words {
            Some((words, after)) => {
                text.push_str(words);
                rest = after;
            }
            None => {
                text.push('[');
                rest = link;
            }
        }
    }
    text.push_str(rest);
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_code_become_words_and_other_brackets_stay() {
        let text = "With `--a`, the [hosts](x.md#y) and [more](z) of [1, 2]; f(x)";
        assert_eq!(plain(text), "With --a, the hosts and more of [1, 2]; f(x)");
    }
}
