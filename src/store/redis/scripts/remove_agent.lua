-- Forgets an agent; says goodbye for it where the predecessor's names are written.
forget(arg(), arg())
return { now }
