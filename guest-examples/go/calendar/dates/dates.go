// Package dates computes with dates, working days and time zones.
package dates

import (
	"fmt"
	"time"
	_ "time/tzdata" // a component has no system files to read zones from
)

// Longest distance between two dates, in days: working days are counted one by one.
const longest = 200_000

// Parse reads a date like 2026-11-21.
func Parse(text string) (time.Time, error) {
	date, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return date, fmt.Errorf("%q is not a date like 2026-11-21", text)
	}
	return date, nil
}

// Set reads a list of dates.
func Set(texts []string) (map[time.Time]bool, error) {
	dates := make(map[time.Time]bool, len(texts))
	for _, text := range texts {
		date, err := Parse(text)
		if err != nil {
			return nil, err
		}
		dates[date] = true
	}
	return dates, nil
}

// Days counts the days from start to end.
func Days(start, end time.Time) (int, error) {
	days := int(end.Sub(start).Hours() / 24)
	if days > longest || days < -longest {
		return 0, fmt.Errorf("the dates are more than %d days apart", longest)
	}
	return days, nil
}

// IsWorking tells whether a date is a working day.
func IsWorking(date time.Time, holidays map[time.Time]bool) bool {
	weekday := date.Weekday()
	return weekday != time.Saturday && weekday != time.Sunday && !holidays[date]
}

// WorkingDays counts the working days from start up to, but not including, end.
func WorkingDays(start, end time.Time, holidays map[time.Time]bool) int {
	if end.Before(start) {
		return -WorkingDays(end, start, holidays)
	}
	count := 0
	for date := start; date.Before(end); date = date.AddDate(0, 0, 1) {
		if IsWorking(date, holidays) {
			count++
		}
	}
	return count
}

// AddWorkingDays moves a date by working days.
func AddWorkingDays(date time.Time, days int, holidays map[time.Time]bool) (time.Time, error) {
	step := 1
	if days < 0 {
		step, days = -1, -days
	}
	if days > longest {
		return date, fmt.Errorf("at most %d working days", longest)
	}
	for taken := 0; days > 0; taken++ {
		// Holidays can be listed for years on end.
		if taken > 2*longest {
			return date, fmt.Errorf("the working day lies more than %d days away", 2*longest)
		}
		date = date.AddDate(0, 0, step)
		if IsWorking(date, holidays) {
			days--
		}
	}
	return date, nil
}

// Convert takes a local time of one zone to another.
func Convert(text, zone, to string) (string, error) {
	from, err := time.LoadLocation(zone)
	if err != nil {
		return "", fmt.Errorf("%q is not a time zone like Europe/Berlin", zone)
	}
	target, err := time.LoadLocation(to)
	if err != nil {
		return "", fmt.Errorf("%q is not a time zone like Europe/Berlin", to)
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if at, err := time.ParseInLocation(layout, text, from); err == nil {
			return at.In(target).Format(time.RFC3339), nil
		}
	}
	return "", fmt.Errorf("%q is not a local time like 2026-11-21T14:30", text)
}
