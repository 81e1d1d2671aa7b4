-- Whether there is anything that keeps the store from writing. The predecessor's names have to be allowed where they are
-- written, for a commit would go on without them.
redis.call('INCR', key('checked'))
for _ = 1, number() do
  redis.call('DEL', arg())
end
return { now }
