/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ground floor: thread roles, one-member id types, cache line. libc only.
 *
 * A role names the thread that may call a function. Under clang they are thread-safety
 * capabilities, so a call from a function of another role warns at compile time; under gcc the
 * macros are empty. role_enter() stands once at the top of a thread's main function.
 */
#pragma once

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64

/* Eight, or four, side by side: two registers where the CPU has SSE alone. */
typedef uint32_t words8 __attribute__((vector_size(32)));
typedef int32_t ints8 __attribute__((vector_size(32)));
typedef uint64_t longs4 __attribute__((vector_size(32)));

/*
 * A function that uses them, compiled for what the CPU has: the linker's ifunc chooses, by cpuid, at start. Not under a sanitizer,
 * whose runtime is not up then, nor by clang 14, which has no levels here. tests/dataplane chooses itself, so that each level runs on
 * a CPU that would take the highest.
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

/* Tells the compiler that the code below runs in this role; costs nothing. */
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

/* One-member structs: a destination id cannot pass for an attribute id. */
#define DEFINE_ID(name, type)                                                                      \
	struct name {                                                                              \
		type v;                                                                            \
	}

DEFINE_ID(vrf_id, uint16_t); /* 0 is `default`; dense, given by configuration */

#define VRF_DEFAULT ((struct vrf_id){0})
