//! Ends in a trap.

wit_bindgen::generate!({
    inline: r#"
        package ringfence:test;
        world guest {
            /// Panics.
            export panic: func();
            /// Executes `unreachable`.
            export unreachable: func();
            /// Reads outside its memory.
            export wild-read: func() -> u8;
            /// Ends the process by `wasi:cli/exit`.
            export exit-with: func(code: u8);
        }
    "#,
});

struct Component;

impl Guest for Component {
    fn panic() {
        panic!("the guest panics on purpose");
    }

    fn unreachable() {
        std::process::abort();
    }

    fn wild_read() -> u8 {
        let address = std::hint::black_box(u32::MAX as usize - 16);
        // SAFETY: none: reading outside the memory is this guest's purpose, and traps.
        unsafe { std::ptr::read_volatile(address as *const u8) }
    }

    fn exit_with(code: u8) {
        std::process::exit(i32::from(code));
    }
}

export!(Component);
