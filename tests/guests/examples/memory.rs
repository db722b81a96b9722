//! Grows its memory: crosses `memory-bytes`.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Takes so many bytes and writes to each page of them; false where the allocation was refused.
            export take: func(bytes: u64) -> bool;
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn take(bytes: u64) -> bool {
        let mut taken: Vec<u8> = Vec::new();
        let Ok(bytes) = usize::try_from(bytes) else {
            return false;
        };
        if taken.try_reserve_exact(bytes).is_err() {
            return false;
        }
        taken.resize(bytes, 1);
        std::hint::black_box(
            taken
                .iter()
                .step_by(4096)
                .map(|b| u64::from(*b))
                .sum::<u64>(),
        ) > 0
    }
}

export!(Component);
