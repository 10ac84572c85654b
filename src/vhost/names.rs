//! Names of exchanges and queues: how they are shown in texts, which are reserved, how new ones are made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::frames::Refusal;

/// `queue 'q' in vhost '/'`, as in every error text.
pub fn queue_text(vhost: &str, name: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// `exchange 'e' in vhost '/'`.
pub fn exchange_text(vhost: &str, name: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

/// Clients may not create anything whose name begins with `amq.`; `kind` is `queue` or `exchange`.
///
/// # Errors
/// 403, for a reserved name.
pub fn check_not_reserved(kind: &str, name: &str) -> Result<(), Refusal> {
    if name.starts_with("amq.") {
        return Err(Refusal::access_refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'")));
    }
    Ok(())
}

/// The name without carriage returns and line feeds, which RabbitMQ strips when declaring and deleting.
pub fn without_line_breaks(name: &str) -> String {
    name.replace(['\r', '\n'], "")
}

/// `prefix` and 22 random characters, as `amq.gen-` and `amq.ctag-` names have them.
pub fn random_name(prefix: &str) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random_bytes()))
}

/// Sixteen bytes that nobody can guess.
pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Without the system's generator a name must still be unique in this process.
        static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let n = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        bytes = (now ^ u128::from(n) << 64).to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_have_rabbitmqs_form() {
        let name = random_name("amq.gen-");
        assert_eq!(name.len(), "amq.gen-".len() + 22);
        assert_ne!(name, random_name("amq.gen-"));
    }
}
