/*
 * One record, N workers that all want its operation done, and everything that can come between.
 *
 * A worker asks for the key, does the operation, stores how it ended, and answers its client. Each message may be overtaken by a
 * later one of its worker, may arrive when its worker is long dead, or never. A worker may die, or stop waiting for a reply,
 * between any two of its steps, and leases end whenever they like: no clock is trusted here.
 *
 * Exactly one of these is defined, and says what happens to a key whose worker fell silent:
 *
 *   HOLD   it is in doubt, and is not run again
 *   TX     the effect is in the transaction of the outcome: both are committed, or both are rolled back
 *   LEASE  the next worker runs it, and whoever ends it first or last stores an outcome: the plain lock with an expiry
 *   FENCE  the next worker runs it with a higher fence, and only the latest owner may store an outcome
 *
 * What is checked is chosen with ONE_EFFECT, ONE_OWNER, SAME_REPLY and STABLE, see below. HOLD and TX keep all four. LEASE
 * breaks all four. FENCE keeps the answers alike and stable, but not the effects: a fence alone prevents no duplicate.
 */

#ifndef N
#define N 3
#endif

/* oneEffect: the operation took effect at most once. */
#ifdef ONE_EFFECT
#define oneEffect assert(effects <= 1)
#else
#define oneEffect skip
#endif

/* oneOwner: when an attempt begins, no earlier one can still act. */
#ifdef ONE_OWNER
#define oneOwner assert(acting == 0)
#else
#define oneOwner skip
#endif

/* sameReply: all clients who get an answer get the same. NO_REPLY is for a control: somebody gets one. */
#if defined(SAME_REPLY)
#define sameReply(a) assert(heard == 0 || heard == a)
#elif defined(NO_REPLY)
#define sameReply(a) assert(false)
#else
#define sameReply(a) skip
#endif

/* noGhost: nobody is granted the key whose Release has arrived before. */
#ifdef NO_GHOST
#define noGhost assert(!freed[w])
bool freed[N];
#else
#define noGhost skip
#endif

/* stable: what is stored once stays. */
#ifdef STABLE
#define stable(a) assert(outcome == 0 || outcome == a)
#else
#define stable(a) skip
#endif

mtype = { absent, running, done };                               /* the record is */
mtype = { acquire, complete, release };                          /* a worker asks */
mtype = { acquired, busy, inDoubt, replay, ok, lost, nothing };  /* it is told; nothing is no reply */

/* Worker w is owner w + 1. Its answer is its own number too, so that two executions give two answers. */
#define me (w + 1)

/* The record, as the store keeps it. */
mtype phase = absent;
byte owner;     /* who holds or completed it */
byte outcome;   /* 0 is none */
byte refused;   /* the residue: the owner whose Acquire comes too late */
bool leased;    /* the lease is running */

/* What the world sees. */
byte effects;   /* how often the operation took effect */
byte acting;    /* the attempts that can still act: a bit each */
bool left[N];   /* the workers that are dead, or will not act whatever they are told */
byte heard;     /* the answer that clients got */

/* The network. */
chan wire[N] = [2] of { mtype };   /* nothing says that a message ever leaves it */
mtype asked[N]; /* what the worker waits for, nothing if it does not */
mtype told[N];

#define bit(w) (1 << w)
#define mine (phase == running && owner == me)

/* A reply reaches only who still waits for it. That some are lost needs no more: who waits may always stop a moment before. */
inline tell(verb, what) {
	if
	:: asked[w] == verb -> told[w] = what; asked[w] = nothing
	:: else
	fi
}

inline grant() {
	oneOwner; noGhost;
	phase = running; owner = me; leased = true; refused = 0;
	if
	:: !left[w] -> acting = acting | bit(w)
	:: else
	fi;
	tell(acquire, acquired)
}

/* What the store does with a message of worker w, each time in one step. */
active [N] proctype store() {
	byte w = _pid;
end:	do
	:: atomic { wire[w]??acquire ->
		if
		:: phase == absent && refused == me -> tell(acquire, lost)
		:: phase == absent && refused != me -> grant()
		:: phase == done -> tell(acquire, replay)
		:: mine -> leased = true; tell(acquire, acquired)
		:: phase == running && owner != me && leased -> tell(acquire, busy)
		:: phase == running && owner != me && !leased ->
#if defined(LEASE) || defined(FENCE)
			grant()
#else
			tell(acquire, inDoubt)
#endif
		fi }
	:: atomic { wire[w]??complete ->
		if
#ifdef LEASE
		:: true ->
#else
		:: mine ->
#endif
			stable(me);
			phase = done; outcome = me; owner = me; leased = false;
#ifdef TX
			effects++; oneEffect; acting = acting & ~bit(w);
#endif
			tell(complete, ok)
#ifndef LEASE
		:: phase == done && owner == me -> tell(complete, ok)
		:: phase == absent || owner != me -> tell(complete, lost)
#endif
		fi }
	:: atomic { wire[w]??release ->
		if
		:: mine || phase == absent -> 
			phase = absent; owner = 0; leased = false; refused = me;
#ifdef NO_GHOST
			freed[w] = true
#endif
		:: else
		fi }
#ifdef TX
	:: atomic { mine -> phase = absent; owner = 0; leased = false; acting = acting & ~bit(w) } /* rolled back */
#endif
	od
}

/* Leases end at any time: so signs of life, which make them longer, and giving up, which ends them, need no messages. */
active proctype clock() {
end:	do
	:: atomic { phase == running && leased -> leased = false }
	od
}

inline send(verb) {
	if
	:: nfull(wire[w]) -> wire[w]!verb
	:: full(wire[w]) /* and so lost */
	fi
}

/* ask sends and waits, for a reply or not for long enough. */
inline ask(verb) {
	atomic { told[w] = nothing; asked[w] = verb; send(verb) };
	if
	:: told[w] != nothing
	:: atomic { told[w] == nothing -> asked[w] = nothing }
	fi
}

inline reply(a) {
	atomic { sameReply(a); heard = a }
}

/* A worker. Wherever it may go on, it may die. */
proctype worker(byte w) {
begin:
	ask(acquire);
	if
	:: told[w] == acquired -> goto act
	:: told[w] == acquired -> goto undo             /* its client has left */
	:: told[w] == replay -> reply(outcome)
	:: told[w] == busy -> goto begin                /* a waiter */
	:: told[w] == nothing -> goto begin             /* as the same owner */
	:: told[w] == nothing -> goto undo
	:: true                                         /* told that it is busy, in doubt, lost; or dead */
	fi;
	goto dead;

undo:	/* It has done nothing, and will not. */
	atomic { left[w] = true; acting = acting & ~bit(w); send(release) };
	goto dead;

act:
	if
	:: true
	:: goto dead
	fi;
#ifndef TX
	atomic { effects++; oneEffect };
#endif

end_it:
	ask(complete);
	if
	:: told[w] == ok -> reply(me)
	:: told[w] == lost -> goto overtaken
	:: told[w] == nothing -> goto end_it
#ifdef HOLD
	:: told[w] == nothing -> reply(me)              /* nobody else can have another answer */
#endif
#ifdef TX
	:: told[w] == nothing -> goto overtaken         /* was it committed? */
#endif
	:: true
	fi;
	goto dead;

overtaken: /* It never answers with its own result, but with what it reads. */
	if
	:: atomic { phase == done -> sameReply(outcome); heard = outcome }
	:: true
	fi;

dead:
#ifdef TX
	atomic { asked[w] = nothing; left[w] = true; told[w] = nothing } /* its transaction lives until the store notices */
#else
	atomic { asked[w] = nothing; left[w] = true; told[w] = nothing; acting = acting & ~bit(w) }
#endif
}

init {
	byte w;
	atomic {
		for (w : 0 .. N-1) { asked[w] = nothing; told[w] = nothing; run worker(w) }
	}
}
