//! Suggestions for misspelt keys and words.

/// The known name that somebody who wrote `name` may have meant.
pub(super) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    // A third of the letters may be wrong; comparing a very long name costs its length squared.
    let allowed = |known: &str| 1 + known.len() / 3;
    let short = name.len() <= 64;
    let distance = |known: &&'n str| strsim::osa_distance(name, known);
    let near = known
        .iter()
        .filter(|_| short)
        .min_by_key(|known| distance(known))?;
    (distance(near) <= allowed(near)).then_some(*near)
}
