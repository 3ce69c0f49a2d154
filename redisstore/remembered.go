package redisstore

import (
	"sync"

	"github.com/onceward/onceward/driver"
)

const mostRemembered = 1 << 16

// remembered is what this process knows of some ids, to ask the server for less. It may always be wrong or gone: the server
// judges. When it is full, any other id is forgotten. The zero value is ready to use.
type remembered[V comparable] struct {
	mu sync.Mutex
	of map[driver.ID]V
}

func (r *remembered[V]) put(id driver.ID, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = make(map[driver.ID]V)
	}
	if len(r.of) >= mostRemembered {
		for other := range r.of {
			delete(r.of, other)
			break
		}
	}
	r.of[id] = v
}

func (r *remembered[V]) get(id driver.ID) (v V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok = r.of[id]
	return v, ok
}

// replace puts v where old still is: not where it was forgotten meanwhile.
func (r *remembered[V]) replace(id driver.ID, old, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, ok := r.of[id]; ok && now == old {
		r.of[id] = v
	}
}

// take returns what was remembered, and forgets it.
func (r *remembered[V]) take(id driver.ID) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.of[id]
	delete(r.of, id)
	return v
}
