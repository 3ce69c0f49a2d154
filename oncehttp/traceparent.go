package oncehttp

import "strings"

// traceID is the trace id of a traceparent field as in W3C Trace Context, section 3.2: version "-" trace id "-" parent id "-"
// flags. What does not follow that, or is not alone, has none: it goes into records, so it must not hold just anything.
func traceID(values []string) string {
	const idAt, idEnd, length = 3, 35, 55
	if len(values) != 1 || len(values[0]) < length {
		return ""
	}
	field := values[0]
	version, id, parent, flags := field[:2], field[idAt:idEnd], field[idEnd+1:52], field[53:length]
	dashes := field[2] == '-' && field[idEnd] == '-' && field[52] == '-'
	later := version != "00" && len(field) > length && field[length] == '-' // a later version may say more
	switch {
	case !dashes, !isLowerHex(version), !isLowerHex(id), !isLowerHex(parent), !isLowerHex(flags):
		return ""
	case len(field) > length && !later, version == "ff", strings.Trim(id, "0") == "", strings.Trim(parent, "0") == "":
		return ""
	default:
		return id
	}
}

func isLowerHex(s string) bool {
	return span(s, func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }) == len(s)
}
