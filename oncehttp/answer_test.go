package oncehttp

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

var sample = answer{
	status: 201,
	header: []field{
		{"Content-Type", []string{"text/plain; charset=utf-8"}}, {"Link", []string{"</a>", "</b>"}}, {"Vary", []string{""}},
	},
	body:    []byte("paid\x00\xff"),
	trailer: []field{{http.TrailerPrefix + "X-Late", []string{"1"}}, {"X-Sum", []string{"2"}}},
}

func seal(a answer) []byte {
	return sealAnswer(append(make([]byte, bodyAt), a.body...), a.status, a.header, a.trailer)
}

// What is stored today must be readable for as long as records live: a change of this file is a new version.
func TestAnswerGolden(t *testing.T) {
	const name = "testdata/answer-v1.hex"
	golden, err := os.ReadFile(name)
	check.NoError(t, err, "the golden file")
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(golden)), ""))
	check.NoError(t, err, "%s", name)
	a, err := decodeAnswer(data)
	check.NoError(t, err, "%s", name)
	check.Equal(t, a, sample, "the stored answer")
	check.Equal(t, hex.EncodeToString(seal(sample)), hex.EncodeToString(data), "the encoding")
}

func TestDamagedAnswers(t *testing.T) {
	good := seal(sample)
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 1
		_, err := decodeAnswer(bad)
		check.ErrorIs(t, err, errAnswer, "byte %d flipped", i)
		_, err = decodeAnswer(good[:i])
		check.ErrorIs(t, err, errAnswer, "cut at %d", i)
	}
	_, err := decodeAnswer(append(good, 0))
	check.ErrorIs(t, err, errAnswer, "one byte more")
	for _, status := range []int{0, 99} {
		_, err := decodeAnswer(seal(answer{status: status}))
		check.ErrorIs(t, err, errAnswer, "status %d", status)
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add(seal(sample)[lengthAt:])
	f.Add(seal(answer{status: 204})[lengthAt:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// With a right digest, or nothing behind it would ever be reached.
		sum := sha256.Sum256(data)
		a, err := decodeAnswer(append(append([]byte(answerMagic), sum[:]...), data...))
		if err != nil {
			check.ErrorIs(t, err, errAnswer, "undecodable")
			return
		}
		again, err := decodeAnswer(seal(a))
		check.NoError(t, err, "encoded again")
		check.Equal(t, again, a, "encoded again")
	})
}
