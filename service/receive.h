/* Agents receive commands: at once, or in a long poll. */
#ifndef SERVICE_RECEIVE_H
#define SERVICE_RECEIVE_H

struct service;
struct queue_waiter;

/* Hands commands to the long polls whose queue has some, within the turn. */
void receive_serve_waiting(struct service *service);
/* Answers a long poll with no commands. */
void receive_end_empty(struct queue_waiter *waiter);

#endif
