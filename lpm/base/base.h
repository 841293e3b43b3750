/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Basic types of the whole project: thread roles, id types with one member, vector types. Uses
 * libc only.
 *
 * A role names the thread that may call a function. Under clang, roles are thread-safety
 * capabilities: a call from a function of another role is a warning at compile time. Under gcc the
 * macros are empty.
 *
 * RUNS_ON stands behind the parameters: at the prototype of a public function, at the definition of
 * a static one. The main functions of each thread call role_enter_*() at the top; `scripts/check
 * roles` lists all other claims. A call through a pointer is not checked. So a function for another
 * thread is passed by FUNCTION_ON(), and a callback (a timer, a watch, a visitor) has the role of
 * the functions that set it.
 */
#pragma once

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64

/*
 * Vectors of eight 32-bit or four 64-bit lanes. The compiler splits each into two registers on a
 * CPU with SSE only.
 */
typedef uint32_t words8 __attribute__((vector_size(32)));
typedef int32_t ints8 __attribute__((vector_size(32)));
typedef uint64_t longs4 __attribute__((vector_size(32)));

/*
 * Marks a function with vector code. The compiler builds one version for each CPU level, and the
 * dynamic linker picks a version by cpuid at start (ifunc). Empty under sanitizers, because the
 * sanitizer runtime is not ready when ifuncs are resolved, and under clang 14, which cannot name
 * CPU levels in target_clones. Tests in tests/dataplane define HOT as empty and choose the level
 * by compiler flags, so a CPU with AVX-512 also tests the lower levels.
 */
#if defined(HOT)
#elif defined(__x86_64__) && !defined(__clang__) && !defined(KEEL_SANITIZED)
#define HOT __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define HOT
#endif

#if defined(__clang__)
#define ROLE_TYPE __attribute__((capability("role")))
#define RUNS_ON(role) __attribute__((requires_capability(role)))
#define ROLE_ENTERS(role) __attribute__((assert_capability(role)))
#else
#define ROLE_TYPE
#define RUNS_ON(role)
#define ROLE_ENTERS(role)
#endif

struct ROLE_TYPE role {
	char unused;
};

extern struct role role_main; /* configuration, JSON-RPC, jobs */
extern struct role role_host; /* netlink, XDP map entries */
extern struct role role_session; /* sockets, FSMs, timers, decoding, export */
extern struct role role_rib; /* Adj-RIB-In, Loc-RIB, received and accepted attribute sets */
extern struct role role_fib; /* next hops, shadow, forwarding tables, generations */
extern struct role role_worker; /* forwarding */
extern struct role role_rpki; /* connections to RPKI caches, sets of VRPs */
extern struct role role_bmp; /* connections to BMP collectors */

/* Declares to the compiler that the code below runs in this role. Generates no code. */
static inline void
role_enter_main(void) ROLE_ENTERS(role_main)
{
}
static inline void
role_enter_host(void) ROLE_ENTERS(role_host)
{
}
static inline void
role_enter_session(void) ROLE_ENTERS(role_session)
{
}
static inline void
role_enter_rib(void) ROLE_ENTERS(role_rib)
{
}
static inline void
role_enter_fib(void) ROLE_ENTERS(role_fib)
{
}
static inline void
role_enter_worker(void) ROLE_ENTERS(role_worker)
{
}
static inline void
role_enter_rpki(void) ROLE_ENTERS(role_rpki)
{
}
static inline void
role_enter_bmp(void) ROLE_ENTERS(role_bmp)
{
}

/*
 * FUNCTION_ON(session, fn): the address of `fn`, a `void fn(void *arg)` that a thread of this role
 * will call. Clang does not check calls through pointers, so the check is here, where the address is
 * passed: a call that never happens, in that role and in no other. `fn` must be the name of a
 * function, because a variable does not carry the role. The check leaves no code behind.
 */
#if defined(__clang__)
#define ROLES_ALL                                                                                  \
	role_main, role_host, role_session, role_rib, role_fib, role_worker, role_rpki, role_bmp
static inline void
roles_enter(void) __attribute__((assert_capability(ROLES_ALL)))
{
}
static inline void
roles_leave(void) __attribute__((release_capability(ROLES_ALL), no_thread_safety_analysis))
{
}
static inline bool
role_never(void)
{
	return false;
}
#define FUNCTION_ON(role, fn)                                                                      \
	({                                                                                         \
		if (role_never()) {                                                                \
			roles_enter(); /* only a held role can be left */                          \
			roles_leave();                                                             \
			role_enter_##role();                                                       \
			(fn)(NULL);                                                                \
			__builtin_unreachable();                                                   \
		}                                                                                  \
		_Generic(&(fn), void (*)(void *) : (fn));                                          \
	})
#else
#define FUNCTION_ON(role, fn) _Generic(&(fn), void (*)(void *) : (fn))
#endif

/*
 * An id type is a struct with one member, so a destination id cannot be passed as an attribute id.
 */
#define DEFINE_ID(name, type)                                                                      \
	struct name {                                                                              \
		type v;                                                                            \
	}

DEFINE_ID(vrf_id, uint16_t); /* dense ids given by the configuration; 0 is `default` */

#define VRF_DEFAULT ((struct vrf_id){0})
