package peer;

import java.util.List;
import org.springframework.http.HttpStatus;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** Publishes what services post: one notification, or a list. */
@RestController
public class Notifications {
    public record Notification(String topic, String message) {}

    private final SimpMessagingTemplate broker;

    public Notifications(SimpMessagingTemplate broker) {
        this.broker = broker;
    }

    @PostMapping("/api/notification")
    @ResponseStatus(HttpStatus.ACCEPTED)
    public List<Notification> publish(@RequestBody List<Notification> notifications) {
        notifications.forEach(each -> broker.convertAndSend(each.topic(), each.message()));
        return notifications;
    }
}
