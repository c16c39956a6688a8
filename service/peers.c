#include "service/peers.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
	IDLE_MS = 75 * 1000, /* longer than the server's time-out for silent connections */
	SWEEP_MS = 15 * 1000,
};

static void on_sweep(struct alarm_entry *entry)
{
	struct peers *peers = (struct peers *)((char *)entry - offsetof(struct peers, sweep));
	int64_t now_ms = clock_monotonic_ms();
	struct peer *peer;
	LIST_FOREACH(peer, &peers->list, link)
	{
		/* The server sees the end of the stream and closes it. */
		if (peer->idle_since_ms > 0 && now_ms - peer->idle_since_ms > IDLE_MS)
			(void)shutdown(peer->fd, SHUT_RDWR);
	}
	if (!LIST_EMPTY(&peers->list))
		alarm_set(peers->alarms, &peers->sweep, now_ms + SWEEP_MS, on_sweep);
}

void peers_init(struct peers *peers, struct alarms *alarms)
{
	*peers = (struct peers){.alarms = alarms};
	LIST_INIT(&peers->list);
}

struct peer *peer_new(struct peers *peers, int fd)
{
	struct peer *peer = mem_new(struct peer);
	peer->fd = fd;
	peer->idle_since_ms = clock_monotonic_ms();
	LIST_INSERT_HEAD(&peers->list, peer, link);
	if (peers->sweep.at_ms == 0)
		alarm_set(peers->alarms, &peers->sweep, peer->idle_since_ms + SWEEP_MS, on_sweep);
	return peer;
}

void peer_free(struct peer *peer)
{
	if (!peer)
		return;
	LIST_REMOVE(peer, link);
	free(peer);
}

void peer_begin_request(struct peer *peer)
{
	if (peer)
		peer->idle_since_ms = 0;
}

void peer_end_request(struct peer *peer)
{
	if (peer)
		peer->idle_since_ms = clock_monotonic_ms();
}
