local now = redis.call('TIME')
return {OK, now[1], tonumber(now[2])}
