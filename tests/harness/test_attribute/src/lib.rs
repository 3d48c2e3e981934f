//! `#[test]` for a test binary with a `main` of its own: it registers the function, as libtest's attribute does.
//!
//! libtest cannot say that a test was skipped while it ran: such a test counts as passed there. The binary that uses this
//! attribute counts it as skipped, with its reason.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Registers the function as a `crate::harness::TestCase`. `#[ignore]` below it is understood as libtest understands it.
#[proc_macro_attribute]
pub fn test(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut function = TokenStream::new();
    let (mut is_ignored, mut name) = (false, None);
    let mut tokens = item.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(hash) if hash.as_char() == '#' => {
                if tokens.next_if(is_ignore_attribute).is_some() {
                    is_ignored = true;
                    continue;
                }
            }
            TokenTree::Ident(word) if name.is_none() && word.to_string() == "fn" => {
                name = tokens.peek().map(ToString::to_string);
            }
            _ => {}
        }
        function.extend([token]);
    }
    let name = name.expect("#[test] stands before a function");
    let entry = format!(
        "::inventory::submit! {{
            crate::harness::TestCase {{
                path: concat!(module_path!(), \"::\", stringify!({name})),
                is_ignored: {is_ignored},
                run: || crate::harness::TestResult::into_result({name}()),
            }}
        }}"
    );
    function.extend(entry.parse::<TokenStream>().expect("the entry is Rust"));
    function
}

/// Whether this is the `[ignore]` or `[ignore = "..."]` of an attribute.
fn is_ignore_attribute(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(word)) if word.to_string() == "ignore")
}
