;; Four memories in four core instances; `grow` takes as many 64 KiB pages in each: crosses `memory-bytes`
;; in sum while each memory alone stays below it.
(component
  (core module $one
    (memory 1)
    (func (export "grow") (param i32) (result i32)
      (memory.grow (local.get 0))))
  (core instance $a (instantiate $one))
  (core instance $b (instantiate $one))
  (core instance $c (instantiate $one))
  (core instance $d (instantiate $one))
  (core module $all
    (import "a" "grow" (func $a (param i32) (result i32)))
    (import "b" "grow" (func $b (param i32) (result i32)))
    (import "c" "grow" (func $c (param i32) (result i32)))
    (import "d" "grow" (func $d (param i32) (result i32)))
    ;; How many memories could not grow.
    (func (export "grow") (param $pages i32) (result i32)
      (i32.add
        (i32.add
          (i32.eq (call $a (local.get $pages)) (i32.const -1))
          (i32.eq (call $b (local.get $pages)) (i32.const -1)))
        (i32.add
          (i32.eq (call $c (local.get $pages)) (i32.const -1))
          (i32.eq (call $d (local.get $pages)) (i32.const -1))))))
  (core instance $main (instantiate $all
    (with "a" (instance $a)) (with "b" (instance $b))
    (with "c" (instance $c)) (with "d" (instance $d))))
  (func (export "grow") (param "pages" u32) (result u32)
    (canon lift (core func $main "grow"))))
