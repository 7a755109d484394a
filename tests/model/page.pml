/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page protocol of the user-space home, as a model for spin: one page of one object, the kernel's page
 * cache, the service's request handlers, its engine thread, and one or two devices. run.sh verifies it.
 *
 * What is checked (numbers are those of the design's invariants)
 *
 *   CHECK_STATE, after every step:
 *     1  one copy is authoritative: it has the latest bytes, and so has every clean device copy in use
 *     2  a device maps the page for writing only while no CPU copy can be used; while the CPU's page is dirty
 *        no device maps it at all
 *     4  what a device maps is the latest content, so never what its memory held before
 *     -  whatever the CPU or a device could load now is the latest content; loads need no step of their own
 *   at single steps:
 *     3  each copy of the engine may fail, and all of the above still holds
 *     5  when fsync returns 0, the disk has every byte written before the call
 *     7  truncate and punch are writes that replace everything: no older byte is seen after they return
 *   Rest, with -DFUEL=n: only n operations are begun. Every run is then finite (checked as well: no cycles)
 *     and ends with nobody waiting. So there is no deadlock, and each READ and every other request is answered.
 *
 * Values.  Only the age of a copy's bytes matters, so a word of a copy is one of
 *     OLD0   overwritten; while an fsync runs: before its call
 *     OLD    overwritten since the call of the fsync
 *     CUR    the latest
 *     NEW    the bytes of the write(2) in flight
 * A write makes CUR old in all copies and sets CUR in one, so any number of writes has finitely many states. It
 * takes effect when a store retires (mmap, device), or when the service takes the request (write(2), truncate,
 * punch). Until these three return, the CPU may see the bytes from before or from after them. The page has two
 * words: a store through mmap writes word 0, write(2) writes word 1 or both, all others write both.
 *
 * The kernel, as in Linux 6.18 without writeback cache
 *   - A READ holds the page lock until its answer is filled in.
 *   - write(2) copies into the page, then sends a WRITE. If the page is up to date then (it was, or all of it
 *     is written) it is not locked meanwhile. Else it is locked until the reply, and not up to date after it.
 *   - The inode lock: write(2), fsync, truncate and punch exclude each other.
 *   - A dirty page is written by the flusher, by fsync, at close, or by an invalidation, which holds the page
 *     lock meanwhile. These WRITEs carry the writepage flag.
 *   - An invalidation waits for lock and writeback, writes the page if dirty, drops it. READs may follow
 *     before it returns.
 *   - truncate holds back page writes until its reply; from then on they are beyond the end and dropped.
 *     punch writes the page first. New READs wait for both.
 *   - A clean page may vanish, but not one that a write(2) in flight refers to.
 *
 * Assumed of applications: no store through mmap into bytes that a write(2), truncate or punch is changing at
 * that moment (-DMIX allows other bytes of the page, for write(2)).
 *
 * The service.  The block is IDLE, REVOKING (the kernel was told to give the page back; requests are served as
 * before, since it may hold the very lock that the invalidation needs) or MOVING (requests wait; nothing that
 * the kernel holds is needed to finish). Each handler is one step: it runs under the object's lock.
 * What finding the rules taught, beyond the obvious:
 *   - In REVOKING a clear cpu bit says nothing: the kernel still has the page. OPEN and WRITE take it as set.
 *   - OPEN for writing waits while MOVING: the plan may be about to map a page that the CPU shares.
 *   - A WRITE of write(2) sets cpu. If the page was revoked since the WRITE before, the CPU may have re-read it
 *     without the new bytes: revoke it again, then reply. A revocation that began earlier does not count.
 *   - That reply can't be held for ever: the write may have locked the page. After some time it is sent anyway;
 *     such a page is not up to date, hence not stale.
 *   - Until that revocation is over, a page written by the kernel may lack the WRITE's bytes: where it has what
 *     was there before the WRITE, the WRITE's bytes stay (merge).
 *   - A revocation that fails sets cpu again.
 *
 * -DBROKEN_x leaves one rule out; run.sh expects each of these to fail.
 */
#ifndef NDEV
#define NDEV 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif

#ifdef FUEL
byte fuel = FUEL;
#define CAN	(fuel > 0)
#define SPEND	fuel--
#else
#define CAN	true
#define SPEND	skip
#endif

/* Words, and the copies that hold them. */
#define OLD0	0
#define OLD	1
#define CUR	2
#define NEW	3

#define K	0	/* the kernel's page */
#define RA	1	/* a READ's answer on its way */
#define WB	2	/* a page write on its way */
#define B	3	/* the backing file */
#define X	4	/* the disk */
#define D	5	/* D + d: device d's memory */
#define COPIES	(5 + NDEV)

byte w0[COPIES];
byte w1[COPIES];
hidden byte i;
hidden byte t;

/* A request is NONE, SENT, then DONE when answered. FILLED: about to be sent. WAIT: waits for the engine. */
#define NONE	0
#define FILLED	1
#define SENT	2
#define WAIT	3
#define DONE	4

/* The kernel's page. */
bit present;
bit uptodate;
bit locked;
bit dirty;
bit wback;
bit kwriter;		/* some process has the file open for writing */
byte nowrite;		/* truncate: 1 page writes are blocked, 2 dropped as beyond the end */
byte rd;		/* READ */
byte wb;		/* WRITE with the writepage flag */
byte wr;		/* WRITE of write(2) */
bit wr_full;		/* ... covers the page */
bit wr_lock;		/* ... holds the page lock */
byte opn;		/* OPEN for writing */
bit rel;		/* RELEASE of it, asynchronous */
byte tr;		/* truncate or punch */
byte fs;		/* FSYNC */
bit fs_err;
bit fs_open;		/* from the call of fsync to its return */
byte inv;		/* invalidation: SENT, FILLED (writes the page), DONE (about to return), WAIT (failed) */

/* The service. */
#define IDLE		0
#define REVOKING	1
#define MOVING		2
byte state;
byte writers;
bit cpu;		/* the CPU may hold the page */
bit revoked;		/* a revocation ran since the last WRITE of write(2) */
bit again;		/* a revocation is owed for a WRITE */
bit owed;		/* ... and is running; only a plan's revocation is let fail here */
bit merge;		/* the CPU page may lack word 1 of the last WRITE */
byte map[NDEV];		/* 0, 1 read, 2 write */
bit mdirty[NDEV];	/* the device MMU's dirty bit */
bit valid[NDEV];
bit ddirty[NDEV];	/* the device copy is the authoritative one */

#define AGED(x)		((x) == CUR -> (fs_open -> OLD : OLD0) : (x))
#define SERVED		(state != MOVING)
#define LATEST(x)	((x) == CUR || ((x) == NEW && wr != NONE))
#define BOTH_LATEST(c)	(LATEST(w0[c]) && LATEST(w1[c]))
#define CPU_WORD0	(w0[K] >= CUR || tr != NONE || (wr != NONE && wr_full))
#define CPU_WORD1	(w1[K] >= CUR || tr != NONE || wr != NONE)
#define DEV_DIRTY(d)	(ddirty[d] || mdirty[d])
#if NDEV == 2
#define ANY_DIRTY	(DEV_DIRTY(0) || DEV_DIRTY(1))
#define ANY_MAP		(map[0] || map[1])
#define OWNER		(ddirty[0] -> D : (ddirty[1] -> D + 1 : B))
#define EACH(f)		f(0); f(1)
#else
#define ANY_DIRTY	DEV_DIRTY(0)
#define ANY_MAP		(map[0] != 0)
#define OWNER		(ddirty[0] -> D : B)
#define EACH(f)		f(0)
#endif

#define CHECK_DEV(d) \
	assert(!map[d] || (valid[d] && BOTH_LATEST(D + d)));	/* 1, 4, no stale load */ \
	assert(!DEV_DIRTY(d) || dirty || wb != NONE || BOTH_LATEST(D + d));	/* 1 */ \
	assert(!valid[d] || cpu || state == REVOKING || BOTH_LATEST(D + d));	/* 1 */ \
	assert(map[d] != 2 || !(present && uptodate) || wr != NONE || tr != NONE)	/* 2 */

#define CHECK_STATE \
	assert(!(present && uptodate) || (CPU_WORD0 && CPU_WORD1));	/* no stale load */ \
	assert(!dirty || !ANY_MAP || tr != NONE);	/* 2 */ \
	assert(ANY_DIRTY || dirty || wb != NONE || BOTH_LATEST(B));	/* 1 */ \
	EACH(CHECK_DEV)

/* A write of one word, or of both, takes effect in copy c. */
#define AGE_ALL(w) \
	i = 0; \
	do \
	:: i < COPIES -> w[i] = AGED(w[i]); i++ \
	:: else -> break \
	od
inline write0(c) { AGE_ALL(w0); w0[c] = CUR }
inline write_both(c) { AGE_ALL(w0); AGE_ALL(w1); w0[c] = CUR; w1[c] = CUR }
inline copy(to, from) { w0[to] = w0[from]; w1[to] = w1[from] }
inline forget(c) { w0[c] = OLD0; w1[c] = OLD0 }

/* The bytes of the write(2) in flight take effect. */
#define SETTLE(w) \
	i = 0; \
	do \
	:: i < COPIES -> w[i] = (w[i] == NEW -> CUR : AGED(w[i])); i++ \
	:: else -> break \
	od

/* Steps of the engine and of the handlers; the caller is inside a d_step. */
#define HARVEST(d)	ddirty[d] = DEV_DIRTY(d); mdirty[d] = 0
#define UNMAP(d)	HARVEST(d); map[d] = 0
#define PROTECT(d)	HARVEST(d); map[d] = (map[d] -> 1 : 0)
#ifdef BROKEN_FSYNC_NO_PROTECT
#define PROTECT_ALL	skip
#else
#define PROTECT_ALL	EACH(PROTECT)
#endif
#ifdef BROKEN_NO_RECHECK
#define RECHECK_OFF	true
#else
#define RECHECK_OFF	false
#endif
#ifdef BROKEN_ABORT_LOSES_BIT
#define KEEP_BIT	0
#else
#define KEEP_BIT	1
#endif
#define DROP(d)		UNMAP(d); valid[d] = 0; ddirty[d] = 0; forget(D + d)
#ifdef BROKEN_WRITE_KEEPS_COPIES
#define DROP_CLEAN(d)	skip
#else
#define DROP_CLEAN(d)	if :: valid[d] && !ddirty[d] -> valid[d] = 0; forget(D + d) :: else fi
#endif

inline drop_page() { present = 0; uptodate = 0; dirty = 0; forget(K) }

/* READ: with a writer about, holding counts as writing. */
inline serve_read()
{
#ifndef BROKEN_READ_NO_UNMAP
	if
	:: writers > 0 -> EACH(UNMAP)
	:: else -> EACH(PROTECT)
	fi;
#endif
	cpu = 1;
	t = OWNER;
	copy(RA, t);
	rd = DONE
}

/* WRITE of a dirty page. Where it may lack word 1 of a WRITE of write(2), the older word is left out. */
inline serve_page_write()
{
	EACH(UNMAP);
	t = OWNER;
	w0[t] = w0[WB];
	if
#ifndef BROKEN_NO_MERGE
	:: merge && w1[WB] < CUR -> skip
#endif
	:: else -> w1[t] = w1[WB]
	fi;
	EACH(DROP_CLEAN);
	wb = DONE
}

/*
 * WRITE of write(2). The kernel copied the bytes into its page before it sent the request. If that page was
 * revoked since, and a READ answered, then the CPU has a page without them: revoke once more before the reply.
 * A write of the whole page makes a CPU page without any READ.
 */
inline serve_write()
{
	EACH(UNMAP);
	t = OWNER;
	SETTLE(w1);
	w1[t] = CUR;
	if
	:: wr_full -> SETTLE(w0); w0[t] = CUR
	:: else
	fi;
	EACH(DROP_CLEAN);
	if
#if defined(BROKEN_WRITE_TRUSTS_BIT)
	:: cpu && (revoked || state == REVOKING) ->
#elif !defined(BROKEN_WRITE_RACE)
	:: state == REVOKING || (cpu && revoked) ->
#endif
#ifndef BROKEN_WRITE_RACE
		again = 1;
		merge = 1;
#ifdef BROKEN_REPLY_BEFORE_REVOKE
		wr = DONE
#else
		wr = WAIT
#endif
#endif
	:: else -> wr = DONE
	fi;
	revoked = 0;
#ifndef BROKEN_WRITE_NO_HOLD
	cpu = 1
#endif
}

/* OPEN for writing: the first writer makes pages that the CPU holds count as written. */
inline serve_open()
{
	if
#ifdef BROKEN_OPEN_NO_UNMAP
#elif defined(BROKEN_OPEN_TRUSTS_BIT)
	:: writers == 0 && cpu -> EACH(UNMAP)
#else
	:: writers == 0 && (cpu || state == REVOKING) -> EACH(UNMAP)
#endif
	:: else
	fi;
	writers++;
	opn = DONE
}

inline serve_truncate()
{
#ifdef BROKEN_TRUNCATE_KEEPS_COPIES
	EACH(UNMAP);
#else
	EACH(DROP);
#endif
	write_both(B);
	tr = DONE
}

/* CPU loads need no process: CHECK_STATE asserts them wherever they are possible. */
#ifdef MIX
#define STORE_OK	(wr == NONE || !wr_full)
#else
#define STORE_OK	(wr == NONE)
#endif

proctype Memory()
{
end:	do
	:: d_step { CAN && rd == NONE && tr == NONE && !locked && !uptodate ->	/* fault, read(2) */
		SPEND; present = 1; locked = 1; rd = SENT }
	:: d_step { rd == DONE -> copy(K, RA); forget(RA); uptodate = 1; locked = 0; rd = NONE; CHECK_STATE }
	:: d_step { CAN && uptodate && !locked && !wback && kwriter && tr == NONE && STORE_OK ->
		SPEND; dirty = 1; write0(K); CHECK_STATE }
	:: d_step { CAN && uptodate && !dirty && !locked && !wback && wr == NONE ->
		SPEND; drop_page() }
	od
}

proctype Flusher()
{
end:	do
	:: d_step { dirty && !locked && !wback && wb == NONE && !nowrite ->
		dirty = 0; wback = 1; copy(WB, K); wb = SENT }
	:: d_step { nowrite == 2 && wb == SENT -> wb = DONE }
	:: d_step { wback && wb == DONE -> wback = 0; forget(WB); wb = NONE }
	od
}

/* The service's workers: one step each, whenever the block's state lets them. */
proctype Workers()
{
end:	do
#ifdef BROKEN_READ_WAITS_BEFORE_FLIP
	:: d_step { rd == SENT && state == IDLE -> serve_read(); CHECK_STATE }
#elif defined(BROKEN_READ_IN_MOVE)
	:: d_step { rd == SENT -> serve_read(); CHECK_STATE }
#else
	:: d_step { rd == SENT && SERVED -> serve_read(); CHECK_STATE }
#endif
#ifdef BROKEN_WRITE_WAITS_BEFORE_FLIP
	:: d_step { wb == SENT && state == IDLE && !nowrite -> serve_page_write(); CHECK_STATE }
#else
	:: d_step { wb == SENT && SERVED && !nowrite -> serve_page_write(); CHECK_STATE }
#endif
#ifdef BROKEN_OPEN_IN_MOVE
	:: d_step { opn == SENT -> serve_open(); CHECK_STATE }
#else
	:: d_step { opn == SENT && SERVED -> serve_open(); CHECK_STATE }
#endif
	:: d_step { rel -> rel = 0; writers--; CHECK_STATE }
#ifdef SYS_WRITE
	:: d_step { wr == SENT && SERVED -> serve_write(); CHECK_STATE }
#ifndef BROKEN_REPLY_HELD
	/* Held too long: somebody waits for the page that this very write has locked. */
	:: d_step { wr == WAIT && wr_lock -> wr = DONE }
#endif
#endif
#ifdef SYS_TRUNCATE
#ifdef BROKEN_TRUNCATE_WAITS
	:: d_step { tr == SENT && state == IDLE -> serve_truncate(); CHECK_STATE }
#else
	:: d_step { tr == SENT && SERVED -> serve_truncate(); CHECK_STATE }
#endif
#endif
	od
}

/* System calls of a process that has the file open; they exclude each other (inode lock). */
proctype Calls()
{
end:	do
	:: d_step { CAN && !kwriter -> SPEND; opn = SENT };
		d_step { opn == DONE -> opn = NONE; kwriter = 1 }
	:: d_step { kwriter && !rel -> kwriter = 0 };
		d_step { !dirty && wb == NONE -> rel = 1 }
#ifdef SYS_WRITE
	:: d_step { CAN && kwriter && !locked ->
		SPEND; wr = FILLED; wr_full = 1; present = 1; uptodate = 1;
		w0[K] = NEW; w1[K] = NEW; CHECK_STATE };
		goto sent
	:: d_step { CAN && kwriter && !locked ->
		SPEND; wr = FILLED; present = 1; wr_lock = !uptodate; locked = wr_lock;
		w1[K] = (uptodate -> NEW : OLD0); CHECK_STATE };
sent:		atomic { !wback -> wr = SENT };
		d_step { wr == DONE ->
			locked = (wr_lock -> 0 : locked); wr_lock = 0; wr_full = 0; wr = NONE; CHECK_STATE }
#endif
#ifdef SYS_FSYNC
	:: d_step { CAN -> SPEND; fs_open = 1; fs = FILLED };
		d_step { !dirty && wb == NONE -> fs = SENT };
		d_step { fs == DONE ->
			assert(fs_err || (w0[X] != OLD0 && w1[X] != OLD0));	/* 5 */
			i = 0;
			do
			:: i < COPIES ->
				w0[i] = (w0[i] == OLD -> OLD0 : w0[i]);
				w1[i] = (w1[i] == OLD -> OLD0 : w1[i]);
				i++
			:: else -> break
			od;
			fs = NONE; fs_open = 0; fs_err = 0 }
#endif
#ifdef SYS_TRUNCATE
	:: d_step { CAN && kwriter && wb != SENT -> SPEND; nowrite = 1; tr = SENT };	/* truncate */
		goto cut
	:: d_step { CAN && kwriter && !dirty && wb == NONE -> SPEND; tr = SENT };	/* punch */
cut:		atomic { tr == DONE -> nowrite = (nowrite -> 2 : 0) };
		d_step { !locked && !wback -> drop_page(); nowrite = 0; tr = NONE; CHECK_STATE }
#endif
	od
}

/* The kernel's side of the invalidation. */
proctype Invalidate()
{
end:	do
	:: d_step { inv == SENT && !present -> inv = DONE }
	:: d_step { inv == SENT && !owed -> inv = WAIT }	/* fails, nothing done */
	:: d_step { inv == SENT && present && !locked && !wback && !dirty ->
		drop_page(); inv = DONE; CHECK_STATE }
	:: d_step { inv == SENT && present && !locked && !wback && dirty && wb == NONE ->
		locked = 1; dirty = 0; copy(WB, K); wb = SENT; inv = FILLED }
	:: d_step { inv == FILLED && wb == DONE ->
		forget(WB); wb = NONE; drop_page(); locked = 0; inv = DONE; CHECK_STATE }
	od
}

/* Device loads need no step either. */
#define DEVICE_WRITE(d) \
	:: d_step { CAN && map[d] == 2 -> SPEND; write_both(D + d); mdirty[d] = 1; CHECK_STATE }

proctype Devices()
{
end:	do
	DEVICE_WRITE(0)
#if NDEV == 2
	DEVICE_WRITE(1)
#endif
	od
}

/*
 * The engine thread, one plan at a time. from: what to copy, or D + d where device d has it already.
 * A plan starts or flips to MOVING in the step that looks at cpu and writers.
 */
#define MUST_REVOKE(want)	(cpu && ((want) || writers > 0))

#if NDEV == 2
#define OTHER		(1 - d)
#define STOP_OTHER	if :: want -> UNMAP(OTHER) :: else -> PROTECT(OTHER) fi
#ifdef BROKEN_WRITE_FAULT_KEEPS_COPY
#define TAKE_OVER	skip
#else
#define TAKE_OVER	if :: want -> ddirty[d] = ddirty[d] || ddirty[OTHER]; DROP(OTHER) :: else fi
#endif
#else
#define STOP_OTHER	skip
#define TAKE_OVER	skip
#endif

inline flip()
{
	state = MOVING;
	rounds = 0;
	STOP_OTHER;
	from = (valid[d] -> D + d : OWNER)
}

/* A revocation that began before the WRITE does not count for it. */
#ifdef BROKEN_OLD_REVOCATION_COUNTS
#define AGAIN_KEPT	1
#else
#define AGAIN_KEPT	0
#endif

inline finish() { state = IDLE; d = 0; want = 0; from = 0; CHECK_STATE }

#define CAN_FAULT(n, w)	(CAN && state == IDLE && !again && map[n] <= (w))

#define FAULT(n, w) \
	:: d_step { CAN_FAULT(n, w) && MUST_REVOKE(w) -> \
		SPEND; d = n; want = w; state = REVOKING; cpu = 0; revoked = 1; inv = SENT }; goto revoke \
	:: d_step { CAN_FAULT(n, w) && !MUST_REVOKE(w) -> SPEND; d = n; want = w; flip() }; goto move

#ifdef BROKEN_EVICT_NO_HARVEST
#define UNMAP_EVICTED(n)	map[n] = 0; mdirty[n] = 0
#else
#define UNMAP_EVICTED(n)	UNMAP(n)
#endif
#define EVICT(n) \
	:: d_step { CAN && state == IDLE && !again && valid[n] -> \
		SPEND; d = n; state = MOVING; UNMAP_EVICTED(n) }; goto evict

proctype Engine()
{
	byte d;
	bit want;	/* 1: the fault is a write */
	byte rounds;
	byte from;

end:	do
	FAULT(0, 0)
	FAULT(0, 1)
	EVICT(0)
#if NDEV == 2
	FAULT(1, 0)
	FAULT(1, 1)
	EVICT(1)
#endif
#ifdef SYS_WRITE
	:: d_step { again && state == IDLE ->
		again = AGAIN_KEPT; owed = 1; state = REVOKING; cpu = 0; inv = SENT }; goto take_back
#endif
#ifdef SYS_FSYNC
	:: d_step { fs == SENT && state == IDLE && !again ->
		fs = WAIT; state = MOVING; PROTECT_ALL; from = OWNER };
		goto sync
#endif
	od;

revoke:	if
	:: d_step { inv == DONE && (!cpu || RECHECK_OFF) ->
		inv = NONE; revoked = 1; flip(); CHECK_STATE }; goto move
	:: d_step { inv == DONE && cpu && !RECHECK_OFF && rounds < ROUNDS - 1 ->
		rounds++; cpu = 0; inv = SENT }; goto revoke
	:: d_step { inv == WAIT ->	/* it failed: abort the plan */
		inv = NONE; revoked = 1; cpu = cpu || KEEP_BIT; rounds = 0; finish() }; goto end
	:: d_step { inv == DONE && cpu && !RECHECK_OFF && rounds == ROUNDS - 1 ->	/* give up */
		inv = NONE; revoked = 1; rounds = 0; finish() }; goto end
	fi;

move:	if
	:: d_step { from != D + d -> t = from; copy(D + d, t) }
	:: d_step { from != D + d -> finish() }; goto end	/* the copy fails */
	:: from == D + d
	fi;
	d_step { valid[d] = 1; TAKE_OVER; map[d] = want + 1; finish() };
	goto end;

evict:	if
	:: d_step { ddirty[d] -> copy(B, D + d) }
	:: d_step { ddirty[d] -> finish() }; goto end	/* the copy fails */
	:: !ddirty[d]
	fi;
	d_step { DROP(d); finish() };
	goto end;

#ifdef SYS_WRITE
	/* Counts for a WRITE that was taken before it began; one taken meanwhile has set again. */
take_back:
	atomic {
		inv == DONE ->
			inv = NONE;
			owed = 0;
			again = (AGAIN_KEPT -> 0 : again);
			revoked = (again || wr != WAIT);
			merge = again;
			wr = (wr == WAIT && !again -> DONE : wr);
			finish()
	};
	goto end;
#endif

#ifdef SYS_FSYNC
sync:	if
	:: d_step { from != B -> t = from; copy(B, t) }
	:: d_step { from != B -> fs = DONE; fs_err = 1; finish() }; goto end	/* the copy fails */
	:: from == B
	fi;
	d_step { if :: from != B -> ddirty[from - D] = 0 :: else fi; finish() };
	d_step { copy(X, B); fs = DONE };	/* fdatasync */
	goto end
#endif
}

/* When nothing can move any more, nobody waits. */
proctype Rest()
{
	timeout ->
		assert(state == IDLE && !again && inv == NONE && !locked && !wback);
		assert(rd == NONE && wb == NONE && wr == NONE && opn == NONE && !rel && tr == NONE && fs == NONE)
}

init
{
	atomic {
		w0[B] = CUR; w1[B] = CUR; w0[X] = CUR; w1[X] = CUR;
		run Memory(); run Flusher(); run Workers(); run Calls();
		run Invalidate(); run Devices(); run Engine(); run Rest()
	}
}
