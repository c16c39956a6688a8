/* For the benchmark alone: what does the journal cost? A build with BENCH=1 that finds
 * RELAY_BENCH_NO_JOURNAL in its environment keeps everything in memory, promises nothing and
 * says so in its log. Any other build has no such thing: nobody can turn it off by mistake. */
#ifndef AGENT_BENCH_SWITCH_H
#define AGENT_BENCH_SWITCH_H

#include <stdbool.h>

#ifdef WITH_BENCH_SWITCH
#include <stdlib.h>

static inline bool bench_without_journal(void)
{
	return getenv("RELAY_BENCH_NO_JOURNAL") != NULL;
}
#else
static inline bool bench_without_journal(void)
{
	return false;
}
#endif

#endif
