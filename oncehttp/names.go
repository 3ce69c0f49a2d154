package oncehttp

import (
	"fmt"
	"net/http"
	"strings"
)

// checkNames finds names that could not be right: a method or field that no request has would guard nothing, and say so
// never.
func (o *Options) checkNames() error {
	for _, method := range o.Methods {
		if !isToken(method) || method != strings.ToUpper(method) {
			return fmt.Errorf("oncehttp: Options.Methods holds %q: write methods in capitals, such as POST; others are not guarded",
				method)
		}
	}
	header := http.CanonicalHeaderKey(o.Header)
	switch {
	case o.Header != "" && !isToken(o.Header):
		return fmt.Errorf("oncehttp: Options.Header is %q: it is not the name of a header field", o.Header)
	case strings.HasPrefix(header, "Content-"), taken[header]:
		return fmt.Errorf("oncehttp: Options.Header is %s, which means something else: use a field of its own", header)
	case bare(o.DerivedPrefix) != nil:
		return fmt.Errorf("oncehttp: Options.DerivedPrefix is %q: use what a key may hold: visible ASCII without quote, comma and "+
			"semicolon", o.DerivedPrefix)
	}
	for _, name := range o.StoreHeaders {
		if !isToken(name) {
			return fmt.Errorf("oncehttp: Options.StoreHeaders holds %q: it is not the name of a header field", name)
		}
		if never[http.CanonicalHeaderKey(name)] {
			return fmt.Errorf("oncehttp: Options.StoreHeaders holds %s, which must not be replayed: leave it out", name)
		}
	}
	return nil
}

// taken are fields that cannot carry a key.
var taken = set("Accept", "Authorization", "Connection", "Cookie", "Date", "Expect", "Host", "Prefer", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade")

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && span(s, func(c byte) bool {
		return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}) == len(s)
}
