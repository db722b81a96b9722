// Package export_wit_world holds the tool's functions. `ringfence build` writes the bindings around it; the
// package's name is theirs.
package export_wit_world

import (
	"fmt"
	"time"

	witTypes "go.bytecodealliance.org/pkg/wit/types"

	"wit_component/dates"
	"wit_component/wit_world"
)

// DescribeDay describes a date.
func DescribeDay(date string) witTypes.Result[wit_world.Day, string] {
	return answer(func() (wit_world.Day, error) {
		at, err := dates.Parse(date)
		return describe(at), err
	})
}

// Between measures what lies between two dates.
func Between(start, end string, holidays []string) witTypes.Result[wit_world.Span, string] {
	return answer(func() (span wit_world.Span, err error) {
		from, off, err := read(start, holidays)
		if err != nil {
			return span, err
		}
		to, err := dates.Parse(end)
		if err != nil {
			return span, err
		}
		days, err := dates.Days(from, to)
		if err != nil {
			return span, err
		}
		return wit_world.Span{
			Days:        int32(days),
			Weeks:       int32(days / 7),
			WorkingDays: int32(dates.WorkingDays(from, to, off)),
		}, nil
	})
}

// AddWorkingDays moves a date by working days.
func AddWorkingDays(start string, days int32, holidays []string) witTypes.Result[wit_world.Day, string] {
	return answer(func() (day wit_world.Day, err error) {
		from, off, err := read(start, holidays)
		if err != nil {
			return day, err
		}
		to, err := dates.AddWorkingDays(from, int(days), off)
		return describe(to), err
	})
}

// ConvertTime takes a local time of one zone to another.
func ConvertTime(time, zone, to string) witTypes.Result[string, string] {
	return answer(func() (string, error) { return dates.Convert(time, zone, to) })
}

func read(start string, holidays []string) (time.Time, map[time.Time]bool, error) {
	from, err := dates.Parse(start)
	if err != nil {
		return from, nil, err
	}
	off, err := dates.Set(holidays)
	return from, off, err
}

func describe(at time.Time) wit_world.Day {
	year, week := at.ISOWeek()
	return wit_world.Day{
		Date:      at.Format(time.DateOnly),
		Weekday:   at.Weekday().String(),
		IsoWeek:   fmt.Sprintf("%d-W%02d", year, week),
		DayOfYear: uint16(at.YearDay()),
	}
}

// answer turns Go's pair of a value and an error into a WIT result.
func answer[T any](compute func() (T, error)) witTypes.Result[T, string] {
	value, err := compute()
	if err != nil {
		return witTypes.Err[T](err.Error())
	}
	return witTypes.Ok[T, string](value)
}
