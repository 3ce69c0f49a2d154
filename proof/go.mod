module github.com/onceward/onceward/proof

go 1.25.0

require (
	github.com/dunglas/httpsfv v1.1.2
	github.com/gowebpki/jcs v1.0.2
	github.com/onceward/onceward v0.0.0
)

replace github.com/onceward/onceward => ../
