#include "base/json.h"

#include "base/mem.h"

static size_t array_memory_size(struct json_object *array)
{
	const struct array_list *list = json_object_get_array(array);
	size_t size = mem_size(list) + mem_size(list->array);
	for (size_t i = 0; i < list->length; i++)
		size += json_memory_size(list->array[i]);
	return size;
}

static size_t object_memory_size(struct json_object *object)
{
	const struct lh_table *table = json_object_get_object(object);
	size_t size = mem_size(table) + mem_size(table->table);
	const struct lh_entry *entry;
	lh_foreach(table, entry)
	{
		size += json_memory_size(lh_entry_v(entry));
		if (!lh_entry_k_is_constant(entry))
			size += mem_size(lh_entry_k(entry));
	}
	return size;
}

size_t json_memory_size(struct json_object *value)
{
	size_t size = mem_size(value);
	if (json_object_is_type(value, json_type_array))
		size += array_memory_size(value);
	else if (json_object_is_type(value, json_type_object))
		size += object_memory_size(value);
	return size;
}
