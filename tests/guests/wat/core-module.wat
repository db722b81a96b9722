;; A core module, not a component: refused at upload.
(module (func (export "run") (result i32) (i32.const 1)))
