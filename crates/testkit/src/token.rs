use std::fmt;

/// A word that one client writes once: `‹3.17›` is the 18th of client 3.
///
/// Tests write tokens and nothing else, at tokens' borders, and delete whole ones. So the text that
/// comes out says by itself what was lost, doubled, torn or invented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Who writes it.
    pub client: u32,
    /// Its number among that client's, from 0.
    pub number: u32,
}

const OPEN: char = '‹';
const CLOSE: char = '›';

impl Token {
    fn parse(inner: &str) -> Option<Self> {
        let (client, number) = inner.split_once('.')?;
        let token = Self {
            client: client.parse().ok()?,
            number: number.parse().ok()?,
        };
        // `+1.02` reads as a number, and is no token's.
        (token.to_string() == format!("{OPEN}{inner}{CLOSE}")).then_some(token)
    }

    /// Characters of the token.
    pub fn len(self) -> usize {
        self.to_string().chars().count()
    }

    /// Whether the token has no character; it always has.
    pub fn is_empty(self) -> bool {
        false
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}{}.{}{CLOSE}", self.client, self.number)
    }
}

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPart<'a> {
    /// A whole token.
    Token(Token),
    /// Anything between tokens.
    Other(&'a str),
}

/// The tokens of a text, and what is between them.
pub fn parts(text: &str) -> Vec<TextPart<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((start, end, token)) = next_token(rest) {
        if start > 0 {
            parts.push(TextPart::Other(&rest[..start]));
        }
        parts.push(TextPart::Token(token));
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        parts.push(TextPart::Other(rest));
    }
    parts
}

fn next_token(text: &str) -> Option<(usize, usize, Token)> {
    text.match_indices(CLOSE).find_map(|(close, _)| {
        let open = text[..close].rfind(OPEN)?;
        let token = Token::parse(&text[open + OPEN.len_utf8()..close])?;
        Some((open, close + CLOSE.len_utf8(), token))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_its_tokens_and_what_is_torn() {
        let token = |client, number| TextPart::Token(Token { client, number });
        assert_eq!(parts("‹0.1›‹12.345›"), [token(0, 1), token(12, 345)]);
        assert_eq!(
            parts("‹0.‹1.2›1›"),
            [TextPart::Other("‹0."), token(1, 2), TextPart::Other("1›")]
        );
        assert_eq!(parts("‹+0.01›x"), [TextPart::Other("‹+0.01›x")]);
        assert_eq!(parts(""), []);
        let Some(TextPart::Token(token)) = parts("‹12.345›").first().copied() else {
            panic!("a token")
        };
        assert_eq!(token.len(), 8);
    }
}
