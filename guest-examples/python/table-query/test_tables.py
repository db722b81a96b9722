import tempfile
import unittest
from pathlib import Path

import tables


class Tables(unittest.TestCase):
    def file(self, name: str, text: str) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / name
        path.write_text(text)
        return str(path)

    def test_csv_finds_its_delimiter_and_fills_short_rows(self):
        table = tables.load(self.file("a.csv", "a;b\n1;2\n3\n\n"))
        self.assertEqual((table.columns, table.rows), (["a", "b"], [["1", "2"], ["3", ""]]))

    def test_json_objects_may_differ_in_their_keys(self):
        table = tables.load(self.file("a.json", '[{"a": 1}, {"b": "x", "a": null}]'))
        self.assertEqual((table.columns, table.rows), (["a", "b"], [["1", ""], ["", "x"]]))

    def test_what_is_no_table_says_why(self):
        for name, text in [("a.json", '{"a": 1}'), ("a.json", "{"), ("a.csv", ""), ("a.txt", "a")]:
            with self.assertRaises(tables.TableError):
                tables.load(self.file(name, text))

    def test_numbers_compare_as_numbers_and_texts_as_texts(self):
        self.assertTrue(tables.matches("9", "less", "10"))
        self.assertFalse(tables.matches("b9", "less", "b10"))
        self.assertTrue(tables.matches("Straße", "contains", "STRASSE"))

    def test_aggregates_leave_out_what_is_no_number(self):
        cells = ["1", "x", "2.5", ""]
        got = [tables.aggregate(cells, how) for how in ("count", "sum", "mean", "least", "most")]
        self.assertEqual(got, ["4", "3.5", "1.75", "1", "2.5"])
        self.assertEqual(tables.aggregate(["x"], "sum"), "")


if __name__ == "__main__":
    unittest.main()
