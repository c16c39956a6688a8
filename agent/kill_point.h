/* For tests of delivery: a build with KILL=1 stops itself with SIGKILL when it reaches the
 * point that RELAY_KILL_POINT names, as a power cut would. Any other build has no such
 * thing. */
#ifndef AGENT_KILL_POINT_H
#define AGENT_KILL_POINT_H

#ifdef WITH_KILL_POINTS
void kill_point(const char *name);
#else
static inline void kill_point(const char *name)
{
	(void)name;
}
#endif

#endif
