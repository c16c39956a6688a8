#include "service/peers.h"

#include "base/clock.h"
#include "base/mem.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
	IDLE_MS = 75 * 1000, /* longer than the server's time-out for silent connections */
	SWEEP_MS = 15 * 1000,
	SWEEP_BODIES_MS = 1000, /* while bodies are coming */
};

/* The client has closed its end, and everything that it sent has been read. */
static bool has_gone(const struct peer *peer)
{
	struct pollfd state = {.fd = peer->fd, .events = POLLRDHUP};
	int unread = 0;
	return poll(&state, 1, 0) > 0 && ioctl(peer->fd, FIONREAD, &unread) == 0 && unread == 0;
}

static bool must_go(const struct peer *peer, int64_t now_ms)
{
	if (peer->phase == PEER_SERVED)
		return false;
	return has_gone(peer) || (peer->phase == PEER_IDLE && now_ms - peer->since_ms > IDLE_MS);
}

static void on_sweep(struct alarm_entry *entry)
{
	struct peers *peers = (struct peers *)((char *)entry - offsetof(struct peers, sweep));
	int64_t now_ms = clock_monotonic_ms();
	bool has_bodies = false;
	struct peer *peer;
	LIST_FOREACH(peer, &peers->list, link)
	{
		/* The server sees that both ends are closed and frees the connection. */
		if (must_go(peer, now_ms))
			(void)shutdown(peer->fd, SHUT_RDWR);
		has_bodies |= peer->phase == PEER_RECEIVING;
	}
	if (!LIST_EMPTY(&peers->list))
		alarm_set(peers->alarms, entry, now_ms + (has_bodies ? SWEEP_BODIES_MS : SWEEP_MS),
			  on_sweep);
}

static void sweep_within(struct peers *peers, int64_t in_ms)
{
	int64_t at_ms = clock_monotonic_ms() + in_ms;
	if (peers->sweep.at_ms == 0 || at_ms < peers->sweep.at_ms)
		alarm_set(peers->alarms, &peers->sweep, at_ms, on_sweep);
}

void peers_init(struct peers *peers, struct alarms *alarms)
{
	*peers = (struct peers){.alarms = alarms};
	LIST_INIT(&peers->list);
}

struct peer *peer_new(struct peers *peers, int fd)
{
	struct peer *peer = mem_new(struct peer);
	peer->peers = peers;
	peer->fd = fd;
	peer->since_ms = clock_monotonic_ms();
	LIST_INSERT_HEAD(&peers->list, peer, link);
	sweep_within(peers, SWEEP_MS);
	return peer;
}

void peer_free(struct peer *peer)
{
	if (!peer)
		return;
	LIST_REMOVE(peer, link);
	free(peer);
}

void peer_set_phase(struct peer *peer, enum peer_phase phase)
{
	if (!peer)
		return;
	peer->phase = phase;
	peer->since_ms = clock_monotonic_ms();
	if (phase == PEER_RECEIVING)
		sweep_within(peer->peers, SWEEP_BODIES_MS);
}
