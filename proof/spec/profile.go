package spec

import "time"

// Profile is a kind of history: who calls how often for what. Durations are in units.
type Profile struct {
	Name    string
	Keys    int
	Clients int
	Steps   int // of each client
	Unit    time.Duration
	Pause   int     // the longest between two steps; one in four is none
	Long    int     // one pause in twenty is that long, for what ends late
	Way     float64 // the longest to a store on a [Wire], and back
	Faults  Faults  // on the way

	Requests    int   // how many different ones go by one key
	Leases      []int // to pick from
	Retains     []int // of outcomes and doubts
	MaxAttempts int   // attempts are 1 to that
	Hold        int   // how many in ten claims are under hold
	Empty       int   // how many in ten outcomes have no bytes
	Weights     Weights

	Patience time.Duration // of a call; 0 is for ever
}

// Weights say how often clients do what.
type Weights struct {
	Claim, Again, Extend, GiveUp, Complete, Release, Resolve, Force, Get, Sweep int

	// Mine is how many in ten calls of owners are made by the one who was granted the key last, if any.
	Mine int
}

// General meets every rule.
func General() Profile {
	return Profile{
		Name: "general", Keys: 2, Clients: 4, Steps: 8, Unit: 10 * time.Second, Pause: 3, Long: 8, Way: 0.25,
		Faults:   Faults{Refused: 2, Vanished: 2, Unanswered: 4, Late: 4},
		Requests: 2, Leases: []int{1, 2, 5}, Retains: []int{1, 4, 30}, MaxAttempts: 3, Hold: 5, Empty: 1,
		Weights: Weights{
			Claim: 8, Again: 3, Extend: 3, GiveUp: 1, Complete: 4, Release: 3, Resolve: 2, Force: 1, Get: 3, Sweep: 1, Mine: 6,
		},
	}
}

// Storm has many callers at one moment, for what happens between a look and a write.
func Storm() Profile {
	p := General()
	p.Name, p.Keys, p.Clients, p.Steps, p.Pause, p.Long, p.Way = "storm", 1, 6, 4, 0, 3, 0
	return p
}

// Replays have outcomes that are asked for again and again, by their owners too.
func Replays() Profile {
	p := General()
	p.Name, p.Keys, p.Retains, p.Empty, p.Requests = "replays", 1, []int{10, 30}, 4, 1
	p.Weights = Weights{Claim: 4, Again: 6, Complete: 8, Release: 1, Get: 2, Mine: 8}
	return p
}

// Departures have keys that are freed, by those who hold them and by others, and owners who ask after that.
func Departures() Profile {
	p := General()
	p.Name, p.Keys, p.Retains, p.Requests, p.Pause = "departures", 1, []int{30}, 1, 1
	p.Weights = Weights{Claim: 4, Again: 6, Extend: 1, Release: 6, Get: 1, Mine: 7}
	return p
}

// Doubts have owners who fall silent, operators who resolve, and owners who come back.
func Doubts() Profile {
	p := General()
	p.Name, p.Keys, p.Steps, p.Retains, p.Requests, p.Pause = "doubts", 1, 6, []int{30}, 1, 2
	p.Weights = Weights{Claim: 8, Again: 1, Extend: 1, GiveUp: 4, Complete: 3, Resolve: 6, Force: 3, Get: 4, Sweep: 3, Mine: 8}
	return p
}

// Returns have owners who come back when their lease is over, and operators who were faster.
func Returns() Profile {
	p := General()
	p.Name, p.Keys, p.Steps, p.Leases, p.Retains, p.Requests, p.Hold = "returns", 2, 10, []int{1}, []int{6}, 1, 10
	p.Weights = Weights{Claim: 4, GiveUp: 2, Complete: 5, Resolve: 8, Get: 3, Sweep: 4, Mine: 9}
	return p
}

// TakeOvers have attempts that nobody ends.
func TakeOvers() Profile {
	p := General()
	p.Name, p.Keys, p.Retains, p.Requests, p.Hold, p.Pause = "take-overs", 1, []int{30}, 1, 1, 3
	p.Weights = Weights{Claim: 10, Again: 1, Extend: 2, Complete: 1, Get: 2, Mine: 7}
	return p
}

// Profiles are all of them.
func Profiles() []Profile {
	return []Profile{General(), Storm(), Replays(), Departures(), Doubts(), Returns(), TakeOvers()}
}
