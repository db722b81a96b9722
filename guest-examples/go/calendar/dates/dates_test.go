package dates

import "testing"

func TestWorkingDays(t *testing.T) {
	holidays, err := Set([]string{"2026-12-25"})
	if err != nil {
		t.Fatal(err)
	}
	start, _ := Parse("2026-12-21") // a Monday
	end, _ := Parse("2026-12-28")
	if got := WorkingDays(start, end, holidays); got != 4 {
		t.Errorf("forwards: %d", got)
	}
	if got := WorkingDays(end, start, holidays); got != -4 {
		t.Errorf("backwards: %d", got)
	}
	after, err := AddWorkingDays(start, 4, holidays)
	if err != nil || after.Format("2006-01-02") != "2026-12-28" {
		t.Errorf("added: %v %v", after, err)
	}
	before, err := AddWorkingDays(end, -4, holidays)
	if err != nil || !before.Equal(start) {
		t.Errorf("subtracted: %v %v", before, err)
	}
}

func TestConvert(t *testing.T) {
	for _, c := range []struct{ time, zone, to, want string }{
		{"2026-11-21T14:30", "Europe/Berlin", "Asia/Tokyo", "2026-11-21T22:30:00+09:00"},
		{"2026-07-01T00:00:30", "UTC", "America/New_York", "2026-06-30T20:00:30-04:00"},
	} {
		if got, err := Convert(c.time, c.zone, c.to); err != nil || got != c.want {
			t.Errorf("%v: %v %v", c, got, err)
		}
	}
	if _, err := Convert("tomorrow", "UTC", "UTC"); err == nil {
		t.Error("tomorrow is no time")
	}
	if _, err := Convert("2026-11-21T14:30", "Berlin", "UTC"); err == nil {
		t.Error("Berlin is no zone")
	}
}

func TestEndlessHolidays(t *testing.T) {
	if _, err := Parse("2026-02-30"); err == nil {
		t.Error("there is no such date")
	}
	start, _ := Parse("2026-01-01")
	if _, err := AddWorkingDays(start, longest+1, nil); err == nil {
		t.Error("too far")
	}
}
